//! What the end-to-end tests share.

pub mod bed;
pub mod regions;
