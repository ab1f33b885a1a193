//! What the end-to-end tests share.

pub mod bed;
pub mod gateway;
pub mod regions;
pub mod tap;
