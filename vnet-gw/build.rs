//! Embeds the eBPF object. `cargo xtask ebpf` compiles it; building it from here would need a
//! second compiler, which a plain `cargo build` cannot be asked to install.

use std::{env, fs, path::PathBuf, process::exit};

fn main() {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default()).join("..");
    let object = root.join("target/ebpf/vnet-gw-ebpf");
    println!("cargo:rerun-if-changed={}", object.display());
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("vnet-gw-ebpf");
    if let Err(error) = fs::copy(&object, &out) {
        println!(
            "cargo:error=no eBPF object at target/ebpf/vnet-gw-ebpf ({error}): run `cargo xtask ebpf` first"
        );
        exit(1);
    }
}
