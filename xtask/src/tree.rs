//! Where things are, and cargo as this workspace calls it.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

use crate::step;

/// The workspace.
pub(crate) fn root() -> PathBuf {
    // At run time where cargo runs us, so that a moved tree still works.
    let manifest = env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    manifest
        .parent()
        .map_or(manifest.clone(), Path::to_path_buf)
}

/// What is no build of the host's workspace lives here, wherever `CARGO_TARGET_DIR` points:
/// `vnet-gw/build.rs` looks for the object in it.
pub(crate) fn target() -> PathBuf {
    root().join("target")
}

/// `cargo` in the workspace, with the toolchain that runs us.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// Builds one binary of the workspace for release, and says where it is.
pub(crate) fn build(package: &str, binary: &str) -> Result<PathBuf> {
    let messages = target().join(format!("xtask-{binary}.json"));
    fs::create_dir_all(target()).context("creating target/")?;
    let mut command = cargo();
    command.args([
        "build",
        "--release",
        "--message-format=json-render-diagnostics",
    ]);
    command.args(["--package", package, "--bin", binary]);
    let file =
        fs::File::create(&messages).with_context(|| format!("creating {}", messages.display()))?;
    step::run_with_output(&format!("building {binary} (release)"), &mut command, file)?;
    let text =
        fs::read_to_string(&messages).with_context(|| format!("reading {}", messages.display()))?;
    // It has been read; a failure to remove it costs nothing.
    let _ = fs::remove_file(&messages);
    for line in text.lines() {
        let message: serde_json::Value =
            serde_json::from_str(line).context("reading cargo's messages")?;
        let ours = message["reason"] == "compiler-artifact" && message["target"]["name"] == binary;
        if let (true, Some(path)) = (ours, message["executable"].as_str()) {
            return Ok(path.into());
        }
    }
    bail!("cargo built {package} but named no binary {binary}")
}

/// A binary in `PATH`, or where system tools are for those whose `PATH` lacks it.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|dir| dir.join(program))
        .find(|candidate| candidate.is_file())
}

/// What a command prints, where it runs and succeeds.
pub(crate) fn output(command: &mut Command) -> Option<String> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
