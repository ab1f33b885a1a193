//! Embeds the eBPF objects. `cargo xtask ebpf` compiles them; building them from here would need a
//! second compiler, which a plain `cargo build` cannot be asked to install.

use std::{env, fs, path::PathBuf, process::exit};

fn main() {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default()).join("..");
    for name in ["vnet-gw-ebpf", "xsk"] {
        let object = root.join("target/ebpf").join(name);
        println!("cargo:rerun-if-changed={}", object.display());
        let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join(name);
        if let Err(error) = fs::copy(&object, &out) {
            println!(
                "cargo:error=no eBPF object at target/ebpf/{name} ({error}): run `cargo xtask ebpf` first"
            );
            exit(1);
        }
    }
}
