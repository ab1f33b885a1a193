//! Keys of IKE SAs and CHILD SAs (RFC 7296, 2.13 to 2.18; RFC 9242; RFC 9370), and what is proved
//! with them.

mod auth;
mod cookie;
mod derive;
mod nat;

#[cfg(test)]
mod tests;

pub use auth::*;
pub use cookie::*;
pub use derive::*;
pub use nat::*;
