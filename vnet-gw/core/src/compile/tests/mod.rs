mod diff;
mod gateways;
mod image;
mod property;
mod random;
mod security;
mod subnets;
mod transit;
