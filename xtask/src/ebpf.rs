//! The toolchain for the eBPF programs.
//!
//! rustup has no `core` for `bpfel-unknown-none`. Two compilers can do without: a nightly that has
//! the component `rust-src` compiles `core` along, and Debian's packages for its browsers carry a
//! compiler with a `core` for BPF. Either makes LLVM bitcode, which `bpf-linker` links with the LLVM
//! of a Rust toolchain that is there anyway; the machine needs none of its own.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;

use crate::{btf, packages, step, tree};

const TARGET: &str = "bpfel-unknown-none";
/// The last that builds without an LLVM on the machine.
const LINKER_VERSION: &str = "0.10.0";
/// Of what that linker is made for, and so of every compiler whose bitcode it reads.
const LLVM: &str = "22";
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_PACKAGES: &[&str] = &["rustc-web", "libstd-rust-web-dev-bpf"];
/// The binaries of `vnet-gw-ebpf`, each an object in `target/ebpf`.
const OBJECTS: &[&str] = &["vnet-gw-ebpf", "xsk", "bench"];

/// Which compiler makes the bitcode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Route {
    /// Debian's rustc-web with libstd-rust-web-dev-bpf
    Debian,
    /// A rustup nightly with rust-src
    Nightly,
}

/// A route that is ready to compile.
enum Compiler {
    Debian,
    Nightly { toolchain: String, sysroot: PathBuf },
}

/// Compiles the objects into `target/ebpf`, first installing what that needs and lacks.
pub(crate) fn build(route: Option<Route>) -> Result<()> {
    let compiler = choose(route)?;
    let tools = linker()?;
    let out = tree::target().join("ebpf");
    let build = out.join("build");
    let sysroot = match &compiler {
        Compiler::Nightly { sysroot, .. } => sysroot.clone(),
        Compiler::Debian => default_sysroot()?,
    };
    let mut command = match &compiler {
        Compiler::Debian => {
            let mut command = Command::new("cargo");
            // bpfel-unknown-none is a tier 3 target: a release compiler wants to be asked twice.
            command
                .env("RUSTC", DEBIAN_RUSTC)
                .env("RUSTC_BOOTSTRAP", "1")
                .arg("build");
            command
        }
        Compiler::Nightly { toolchain, .. } => {
            let mut command = Command::new("rustup");
            command.args(["run", toolchain, "cargo", "build", "-Zbuild-std=core"]);
            command.env_remove("RUSTC");
            command
        }
    };
    without_flags(&mut command);
    command
        .args(["--release", "--locked", "--target", TARGET])
        .current_dir(tree::root().join("vnet-gw-ebpf"))
        .env("CARGO_TARGET_DIR", &build)
        .env("PATH", prepended("PATH", &tools.join("bin"))?)
        // Where bpf-linker looks for LLVM first.
        .env(
            "LD_LIBRARY_PATH",
            prepended("LD_LIBRARY_PATH", &sysroot.join("lib"))?,
        );
    let with = match &compiler {
        Compiler::Debian => "Debian's rustc-web".to_owned(),
        Compiler::Nightly { toolchain, .. } => toolchain.clone(),
    };
    step::run(
        &format!("compiling the eBPF programs with {with}"),
        &mut command,
    )?;
    for object in OBJECTS {
        let from = build.join(TARGET).join("release").join(object);
        let mut bytes = fs::read(&from).with_context(|| format!("reading {}", from.display()))?;
        btf::make_names_valid(&mut bytes)
            .with_context(|| format!("the type names in {}", from.display()))?;
        write_if_changed(&bytes, &out.join(object))?;
    }
    Ok(())
}

/// The route that is asked for, or else one that is complete, or else one that can be made so.
/// Debian's comes first where both are complete: a release compiler changes less than a nightly.
fn choose(route: Option<Route>) -> Result<Compiler> {
    let debian = route != Some(Route::Nightly);
    let nightly = route != Some(Route::Debian);
    if debian && debian_is_complete() {
        return Ok(Compiler::Debian);
    }
    if nightly && let Some((toolchain, sysroot)) = complete_nightly() {
        return Ok(Compiler::Nightly { toolchain, sysroot });
    }
    if debian && tree::find("apt-get").is_some() && nix::unistd::geteuid().is_root() {
        packages::install(DEBIAN_PACKAGES)?;
        ensure!(
            debian_is_complete(),
            "{DEBIAN_RUSTC} has no core for {TARGET}, or an LLVM other than {LLVM}, though {} are \
             installed: use the other route, a rustup nightly with LLVM {LLVM}: \
             rustup toolchain install nightly --component rust-src",
            DEBIAN_PACKAGES.join(" and ")
        );
        return Ok(Compiler::Debian);
    }
    let mut ways = Vec::new();
    if debian {
        ways.push(format!(
            "on Debian, as root: apt-get update && apt-get install -y --no-install-recommends {}",
            DEBIAN_PACKAGES.join(" ")
        ));
    }
    if nightly {
        ways.push(format!(
            "a nightly with LLVM {LLVM}: rustup toolchain install nightly --component rust-src"
        ));
    }
    bail!(
        "no compiler for {TARGET} here; either\n  {}",
        ways.join("\n  or ")
    )
}

fn debian_is_complete() -> bool {
    let libraries = tree::output(Command::new(DEBIAN_RUSTC).args([
        "--print",
        "target-libdir",
        "--target",
        TARGET,
    ]));
    let has_core = libraries
        .and_then(|dir| fs::read_dir(dir).ok())
        .is_some_and(|files| {
            files
                .flatten()
                .any(|file| file.file_name().to_string_lossy().starts_with("libcore-"))
        });
    has_core && llvm(Command::new(DEBIAN_RUSTC)).as_deref() == Some(LLVM)
}

/// A nightly that has `rust-src` and the right LLVM. rustup is only asked for what it has: nothing
/// is downloaded.
fn complete_nightly() -> Option<(String, PathBuf)> {
    let list = tree::output(Command::new("rustup").args(["toolchain", "list"]))?;
    list.lines()
        .filter_map(|line| line.split(' ').next())
        .find_map(|toolchain| {
            let rustc = |args: &[&str]| {
                let mut command = Command::new("rustup");
                command.args(["run", toolchain, "rustc"]).args(args);
                command
            };
            if !tree::output(&mut rustc(&["--version"]))?.contains("nightly") {
                return None;
            }
            let sysroot = PathBuf::from(tree::output(&mut rustc(&["--print", "sysroot"]))?);
            let source = sysroot.join("lib/rustlib/src/rust/library/core/Cargo.toml");
            let fits = source.exists() && llvm(rustc(&[])).as_deref() == Some(LLVM);
            fits.then(|| (toolchain.to_owned(), sysroot))
        })
}

/// The major version of a compiler's LLVM.
fn llvm(mut rustc: Command) -> Option<String> {
    let text = tree::output(rustc.arg("-vV"))?;
    let version = text
        .lines()
        .find_map(|line| line.strip_prefix("LLVM version: "))?;
    version.split('.').next().map(str::to_owned)
}

/// The toolchain that compiles the workspace: its LLVM links what Debian's compiler made.
fn default_sysroot() -> Result<PathBuf> {
    let rustc = || {
        let mut command = Command::new("rustc");
        command.current_dir(tree::root());
        command
    };
    let sysroot = tree::output(rustc().args(["--print", "sysroot"]))
        .context("running `rustc --print sysroot`")?;
    let version = llvm(rustc()).unwrap_or_default();
    ensure!(
        version == LLVM,
        "{sysroot} has LLVM {version}, and bpf-linker {LINKER_VERSION} needs LLVM {LLVM}: use Rust \
         1.95, as rust-version in Cargo.toml says"
    );
    Ok(sysroot.into())
}

/// Installs `bpf-linker` below `target/tools`, once. The directory it is in.
fn linker() -> Result<PathBuf> {
    let tools = tree::target().join("tools");
    let binary = tools.join("bin/bpf-linker");
    let mut version = Command::new(&binary);
    version.arg("--version").env(
        "LD_LIBRARY_PATH",
        prepended(
            "LD_LIBRARY_PATH",
            &default_sysroot().unwrap_or_default().join("lib"),
        )?,
    );
    if tree::output(&mut version).is_some_and(|text| text.ends_with(LINKER_VERSION)) {
        return Ok(tools);
    }
    let build = tools.join("build");
    let mut command = Command::new("cargo");
    without_flags(&mut command);
    command
        .args([
            "install",
            "bpf-linker",
            "--version",
            LINKER_VERSION,
            "--locked",
            "--force",
        ])
        .arg("--root")
        .arg(&tools)
        .current_dir(tree::root())
        .env_remove("RUSTC")
        .env_remove("RUSTC_BOOTSTRAP")
        .env("CARGO_TARGET_DIR", &build);
    let what = format!("building bpf-linker {LINKER_VERSION} (once, about a minute of CPU)");
    step::run(&what, &mut command)?;
    // A hundred megabytes that nobody needs again; leaving them would do no harm.
    let _ = fs::remove_dir_all(&build);
    Ok(tools)
}

/// Takes away what a caller's environment would add to, or put in place of, the flags that
/// `vnet-gw-ebpf/.cargo/config.toml` sets.
fn without_flags(command: &mut Command) {
    for name in [
        "CARGO_ENCODED_RUSTFLAGS",
        "RUSTFLAGS",
        "CARGO_BUILD_RUSTFLAGS",
        "CARGO_BUILD_TARGET",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        // `cargo run` sets them for us; cargo would rebuild what reads them.
        "CARGO_MANIFEST_DIR",
        "CARGO_MANIFEST_PATH",
    ] {
        command.env_remove(name);
    }
}

fn prepended(variable: &str, first: &Path) -> Result<std::ffi::OsString> {
    let rest = env::var_os(variable).unwrap_or_default();
    let rest = env::split_paths(&rest).filter(|path| !path.as_os_str().is_empty());
    env::join_paths(std::iter::once(first.to_owned()).chain(rest))
        .with_context(|| format!("adding {} to {variable}", first.display()))
}

/// An unchanged object keeps its time, so that what embeds it is not built again.
fn write_if_changed(new: &[u8], to: &Path) -> Result<()> {
    if fs::read(to).is_ok_and(|old| old == new) {
        return Ok(());
    }
    // In one step: a build that runs at the same time must not read half an object.
    let part = to.with_extension("new");
    fs::write(&part, new).with_context(|| format!("writing {}", part.display()))?;
    fs::rename(&part, to).with_context(|| format!("replacing {}", to.display()))
}
