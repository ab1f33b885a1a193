//! `cargo xtask test`: every check and every test, the same on a bare machine as in CI.

use std::{
    ffi::OsString,
    io::{BufRead, BufReader},
    process::{Command, ExitCode, Stdio},
    time::Instant,
};

use anyhow::{Context, Result, bail};

use crate::{ebpf, packages, step, tree};

/// Runs `cargo test --workspace ARGS`, after what it needs, formatting and lints. With arguments,
/// only the tests.
pub(crate) fn run(args: &[OsString]) -> Result<ExitCode> {
    if !nix::unistd::geteuid().is_root() {
        bail!(
            "the tests load eBPF programs and make network namespaces: run as root (without it \
             they would fail, and none is skipped)"
        );
    }
    packages::ensure(packages::LAB)?;
    packages::ensure(&packages::vpn())?;
    // Reads what packet captures wrote.
    packages::ensure(&[("tshark", "tshark")])?;
    packages::azure_clients()?;
    ebpf::build(None)?;
    let mut failed = Vec::new();
    if args.is_empty() {
        for (what, result) in [("rustfmt", formatting()), ("clippy", lints())] {
            if let Err(error) = result {
                eprintln!("error: {error:#}");
                failed.push(what);
            }
        }
    }
    // The tests that need the daemon start it as a program: built first, so that no test's time
    // limit pays for it.
    let mut build = tree::cargo();
    build.args(["test", "--workspace", "--no-run"]);
    step::run("building the tests", &mut build)?;
    let mut build = tree::cargo();
    build.args(["build", "--workspace", "--bin", "vnet-gw"]);
    step::run("building the daemon", &mut build)?;

    let started = Instant::now();
    let mut command = tree::cargo();
    command
        .args(["test", "--workspace", "--no-fail-fast"])
        .args(args);
    let mut summary = follow(&mut command)?;
    if args.is_empty() {
        // What the feature exchanges, and what is made of it. The attack takes long, and is the same.
        let mut command = tree::cargo();
        command
            .args(["test", "-p", "vnet-gw-core", "--features", "portable"])
            .args(["--lib", "--test", "allocations"])
            .args(["--", "crypto::", "esp::", "no_suite", "--skip", "attack"]);
        println!("\nwith the feature portable:");
        summary.join(follow(&mut command)?);
    }
    println!(
        "\nin all: {} passed, {} failed, {} ignored in {} test programs, {} s",
        summary.passed,
        summary.failed,
        summary.ignored,
        summary.programs,
        started.elapsed().as_secs()
    );
    if !summary.success {
        failed.push("tests");
    }
    if !failed.is_empty() {
        println!("failed: {}", failed.join(", "));
    }
    // The runner's own line goes last, where people and machines look for it.
    println!("{}", summary.line);
    Ok(if failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn formatting() -> Result<()> {
    if !has_component("fmt") {
        eprintln!("no rustfmt in this toolchain: formatting is not checked");
        return Ok(());
    }
    let mut command = tree::cargo();
    command.args(["fmt", "--all", "--check"]);
    step::run("checking the format", &mut command)?;
    for (what, folder) in [
        ("the eBPF programs", "vnet-gw-ebpf"),
        ("the fuzz targets", "tests/fuzz"),
    ] {
        let mut command = tree::cargo();
        command
            .args(["fmt", "--check"])
            .current_dir(tree::root().join(folder));
        step::run(&format!("checking the format of {what}"), &mut command)?;
    }
    Ok(())
}

fn lints() -> Result<()> {
    if !has_component("clippy") {
        eprintln!("no clippy in this toolchain: lints are not checked");
        return Ok(());
    }
    let mut command = tree::cargo();
    command.args([
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ]);
    step::run("linting", &mut command)?;
    // The eBPF programs are linted as if they were for this machine: the lints need no BPF `core`.
    let mut command = tree::cargo();
    command
        .args(["clippy", "--release", "--target", &host()?])
        .args(["--", "-D", "warnings"])
        .current_dir(tree::root().join("vnet-gw-ebpf"))
        .env("CARGO_TARGET_DIR", tree::target().join("ebpf/clippy"));
    step::run("linting the eBPF programs", &mut command)
}

/// This machine's target triple.
pub(crate) fn host() -> Result<String> {
    tree::output(Command::new("rustc").arg("-vV"))
        .and_then(|out| {
            Some(
                out.lines()
                    .find_map(|l| l.strip_prefix("host: "))?
                    .to_owned(),
            )
        })
        .context("`rustc -vV` does not name its host: is the Rust toolchain in PATH?")
}

fn has_component(subcommand: &str) -> bool {
    let mut command = tree::cargo();
    tree::output(command.args([subcommand, "--version"])).is_some()
}

#[derive(Default)]
struct Summary {
    success: bool,
    passed: u64,
    failed: u64,
    ignored: u64,
    programs: u32,
    /// The last line that failed, or else the last of a program that has tests.
    line: String,
}

/// Passes the runner's output on, holding the last summary line back.
fn follow(command: &mut Command) -> Result<Summary> {
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .context("starting cargo test")?;
    let output = child.stdout.take().context("cargo test has no output")?;
    let mut summary = Summary::default();
    let mut held: Option<String> = None;
    for line in BufReader::new(output).lines() {
        let line = line.context("reading what cargo test prints")?;
        if let Some(before) = held.take() {
            println!("{before}");
        }
        if line.starts_with("test result: ") {
            summary.add(&line);
            held = Some(line);
        } else {
            println!("{line}");
        }
    }
    summary.success = child.wait().context("waiting for cargo test")?.success();
    if let Some(last) = held
        && last != summary.line
    {
        println!("{last}");
    }
    if summary.line.is_empty() {
        bail!("cargo test ran no test: see above");
    }
    Ok(summary)
}

impl Summary {
    fn join(&mut self, other: Self) {
        self.success &= other.success;
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
        self.programs += other.programs;
        if other.line.contains("FAILED") {
            self.line = other.line;
        }
    }

    /// `test result: ok. 7 passed; 0 failed; 0 ignored; …`
    fn add(&mut self, line: &str) {
        let count = |word: &str| -> u64 {
            let before = line.split_once(word).map_or("", |(before, _)| before);
            before
                .split_whitespace()
                .last()
                .and_then(|n| n.parse().ok())
                .unwrap_or(0)
        };
        let passed = count(" passed");
        self.passed += passed;
        self.failed += count(" failed");
        self.ignored += count(" ignored");
        self.programs += 1;
        let worth_more = passed > 0 || self.line.is_empty();
        if line.contains("FAILED") || (worth_more && !self.line.contains("FAILED")) {
            self.line = line.to_owned();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_is_of_a_program_that_has_tests() {
        let mut summary = Summary::default();
        summary.add("test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out");
        let good = "test result: ok. 7 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out";
        summary.add(good);
        summary.add("test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out");
        assert_eq!((summary.passed, summary.line.as_str()), (7, good));
    }

    #[test]
    fn a_failure_stays_the_last_word() {
        let mut summary = Summary::default();
        summary.add("test result: ok. 7 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out");
        let bad = "test result: FAILED. 2 passed; 3 failed; 0 ignored; 0 measured";
        summary.add(bad);
        summary.add("test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out");
        assert_eq!(
            (summary.passed, summary.failed, summary.ignored),
            (10, 3, 1)
        );
        assert_eq!((summary.programs, summary.line.as_str()), (3, bad));
    }
}
