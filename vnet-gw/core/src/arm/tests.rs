//! Sets of changes, from outside.

mod again;
mod gateways;
mod networks;
mod random;
mod security;
mod single;
mod support;
mod what_if;
