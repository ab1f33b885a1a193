mod diff;
mod gateways;
mod image;
mod property;
mod random;
mod subnets;
mod transit;
