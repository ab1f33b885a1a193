//! Embeds the eBPF object. `cargo xtask ebpf` compiles it; building it from here would need a
//! second compiler, which a plain `cargo build` cannot be asked to install.

use std::{env, fs, path::PathBuf, process::exit};

fn main() {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default()).join("..");
    let object = root.join("target/ebpf/vnet-gw-ebpf");
    println!("cargo:rerun-if-changed={}", object.display());
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("vnet-gw-ebpf");
    let written = fs::read(&object).and_then(|bytes| fs::write(&out, with_valid_names(bytes)));
    if let Err(error) = written {
        println!(
            "cargo:error=no eBPF object at target/ebpf/vnet-gw-ebpf ({error}): run `cargo xtask ebpf` first"
        );
        exit(1);
    }
}

/// The kernel refuses BTF whose names hold anything but identifier characters. The linker mends the
/// names of structs and functions, but not of unions, of which the log library brings one.
fn with_valid_names(mut object: Vec<u8>) -> Vec<u8> {
    const UNION: &[u8] = b"MaybeUninit<u8>\0";
    const VALID: &[u8] = b"MaybeUninit_u8_\0";
    let places: Vec<usize> = object
        .windows(UNION.len())
        .enumerate()
        .filter_map(|(at, bytes)| (bytes == UNION).then_some(at))
        .collect();
    for at in places {
        object[at..at + VALID.len()].copy_from_slice(VALID);
    }
    object
}
