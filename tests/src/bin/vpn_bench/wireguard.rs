//! WireGuard in user space, by its own tools.

use std::{
    fs,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use vnet_gw_lab::{Lab, Netns, Process, netns::run as run_command};

use crate::{
    subject::Part,
    wire::{NETS, UNDERLAY, Wire},
};

const PORT: u16 = 51820;

pub(crate) fn start(
    lab: &Lab,
    wire: &Wire,
    program: &Path,
    args: &[&str],
    name: &str,
) -> Result<Vec<Part>> {
    wire.forward_by_kernel()?;
    let keys = [key()?, key()?];
    let mut parts = Vec::new();
    for side in 0..2 {
        let (gateway, far) = (&wire.gateways[side], 1 - side);
        // Its control socket is named after the device, in a directory that all namespaces share.
        let device = format!("{name}{}", side + 1);
        let log = lab.dir().join(format!("{device}.log"));
        let process = Process::spawn(
            gateway
                .command(program)
                .args(args)
                .arg(&device)
                .env("WG_PROCESS_FOREGROUND", "1")
                .env("LOG_LEVEL", "error"),
            &log,
        )?;
        await_device(gateway, &device, &process)?;
        let file = lab.dir().join(format!("{device}.key"));
        fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&file)
            .and_then(|mut file| file.write_all(keys[side].0.as_bytes()))
            .with_context(|| format!("writing {}", file.display()))?;
        let mut set = gateway.command("wg");
        set.args([
            "set",
            &device,
            "listen-port",
            &PORT.to_string(),
            "private-key",
        ])
        .arg(&file)
        .args(["peer", &keys[far].1, "allowed-ips", NETS[far], "endpoint"])
        .arg(format!("{}:{PORT}", UNDERLAY[far]));
        run_command(&mut set)?;
        gateway.ip(&format!("link set {device} up"))?;
        gateway.ip(&format!("route add {} dev {device}", NETS[far]))?;
        parts.push(Part::Process { _process: process });
    }
    Ok(parts)
}

/// A private key and its public one.
fn key() -> Result<(String, String)> {
    let private = run_command(Command::new("wg").arg("genkey"))?;
    let mut child = Command::new("wg")
        .arg("pubkey")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("starting wg pubkey")?;
    if let Some(mut input) = child.stdin.take() {
        input
            .write_all(private.as_bytes())
            .context("handing a key to wg")?;
    }
    let output = child.wait_with_output().context("waiting for wg pubkey")?;
    let public = String::from_utf8(output.stdout).context("reading what wg pubkey printed")?;
    Ok((private, public.trim().to_owned()))
}

fn await_device(netns: &Netns, device: &str, process: &Process) -> Result<()> {
    let socket = format!("/var/run/wireguard/{device}.sock");
    let deadline = Instant::now() + Duration::from_secs(5);
    while !Path::new(&socket).exists() || netns.packets(device).is_err() {
        if Instant::now() > deadline {
            bail!("{device} does not appear: {}", process.log().trim());
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
