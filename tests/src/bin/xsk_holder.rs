//! A process that holds an engine `xsk` on the public address it is given, until it is killed: what
//! a test of the engine kills.

use std::{env, thread};

use anyhow::{Context, Result};
use vnet_gw::{io, worker::EngineChoice};
use vnet_gw_tests::pump;

fn main() -> Result<()> {
    let address = env::args().nth(1).context("which public address?")?;
    let address = address.parse().context("no address")?;
    let image = pump::image_of("vgw0", [2, 0, 0, 0, 0xff, 1], address);
    let engine = io::open(&image, EngineChoice::Xsk)?;
    println!("open: {}", engine.name);
    loop {
        thread::park();
    }
}
