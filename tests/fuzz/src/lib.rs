//! The fuzz targets: each a function that takes any bytes and must neither panic nor break the
//! promises that it checks. `cargo xtask fuzz` builds the binaries below `src/bin` around them,
//! instrumented, and runs them with libFuzzer.
#![deny(unsafe_code)]

mod arm_template;
mod datapath_packet;
mod esp_open;
mod ike_codec;
mod ike_endpoint;
mod inner;
mod input;
mod nsg;
mod router;

pub use arm_template::arm_template;
pub use datapath_packet::{change_packet, datapath_packet};
pub use esp_open::esp_open;
pub use ike_codec::ike_codec;
pub use ike_endpoint::ike_endpoint;
pub use nsg::nsg;
pub use router::router;
