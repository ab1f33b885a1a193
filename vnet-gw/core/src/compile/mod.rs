//! From a topology to what the data path should hold.

mod image;

pub use image::*;
