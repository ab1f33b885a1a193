//! `cargo xtask run`: leaves nothing behind however it ends, and tells when a path is not as it
//! should be.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use vnet_gw_lab::Lab;
use vnet_gw_tests::bed::binary;

/// One example at a time: two would share the cores, and one of them the name `example`.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn xtask(daemon: &Path) -> Command {
    let mut command = Command::new(binary("xtask").unwrap());
    command
        .arg("run")
        .arg("--daemon")
        .arg(daemon)
        .stdin(Stdio::null());
    command
}

/// The word after `before`.
fn after(line: &str, before: &str) -> Option<String> {
    line.split_once(before)?
        .1
        .split_whitespace()
        .next()
        .map(str::to_owned)
}

/// A running example: its process, the id of its lab, its instance, and its other lines.
fn start() -> (Child, String, String, BufReader<std::process::ChildStdout>) {
    let mut child = xtask(&binary("vnet-gw").unwrap())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let (mut lab, mut instance) = (None, None);
    let mut line = String::new();
    while lab.is_none() || instance.is_none() {
        line.clear();
        assert!(
            lines.read_line(&mut line).unwrap() > 0,
            "the example ended before its first page"
        );
        let namespace = after(&line, "ip netns exec ");
        lab = lab.or(namespace.and_then(|name| Some(name.split_once("-vnet1")?.0.to_owned())));
        instance = instance.or(after(&line, "--instance "));
    }
    (child, lab.unwrap(), instance.unwrap(), lines)
}

/// What is left of an example.
fn remains(lab: &str, instance: &str) -> Vec<String> {
    let paths = [
        format!("/run/vnet-gw-lab/{lab}"),
        format!("/sys/fs/bpf/vnet-gw/{instance}"),
        format!("/run/vnet-gw/{instance}.sock"),
    ];
    let mut out: Vec<String> = paths
        .into_iter()
        .filter(|path| Path::new(path).exists())
        .collect();
    let entries = |dir: &str| fs::read_dir(dir).into_iter().flatten().flatten();
    let names = |dir: &str| entries(dir).map(|entry| entry.file_name().into_string().unwrap());
    out.extend(names("/run/netns").filter(|name| name.starts_with(&format!("{lab}-"))));
    out.extend(names("/proc").filter(|pid| {
        let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&words).contains(&format!("/{lab}/"))
    }));
    out
}

#[test]
fn leaves_nothing_behind() {
    let _turn = turn();
    for signal in [
        Signal::SIGINT,
        Signal::SIGTERM,
        Signal::SIGHUP,
        Signal::SIGKILL,
    ] {
        let (mut child, lab, instance, mut lines) = start();
        assert!(
            remains(&lab, &instance).len() > 5,
            "what is looked for is there while it runs"
        );
        // Somewhere in its work.
        thread::sleep(Duration::from_millis(700));
        kill(Pid::from_raw(child.id().cast_signed()), signal).unwrap();
        // It goes on writing until it ends.
        std::io::copy(&mut lines, &mut std::io::sink()).unwrap();
        let status = child.wait().unwrap();
        if signal != Signal::SIGKILL {
            assert!(status.success(), "{signal}: {status}");
            // Gone before the prompt is back.
            assert_eq!(remains(&lab, &instance), [] as [String; 0], "{signal}");
        }
        // Killed, it leaves the cleaning to its guardian.
        let deadline = Instant::now() + Duration::from_secs(15);
        while !remains(&lab, &instance).is_empty() {
            assert!(
                Instant::now() < deadline,
                "{signal} left {:?}",
                remains(&lab, &instance)
            );
            thread::sleep(Duration::from_millis(50));
        }
    }
}

#[test]
fn once_proves_every_path() {
    let _turn = turn();
    for hook in ["auto", "xdp"] {
        let output = xtask(&binary("vnet-gw").unwrap())
            .args(["--once", "--hook", hook])
            .output()
            .unwrap();
        let (stdout, stderr) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        assert!(output.status.success(), "{hook}: {stdout}\n{stderr}");
        assert!(
            !stdout.contains("NOT OK") && stdout.contains(" ok"),
            "{hook}: {stdout}"
        );
    }
}

/// A daemon that believes vnet6-web1 to have another address must be found out.
#[test]
fn once_fails_where_a_path_is_broken() {
    let _turn = turn();
    let lab = Lab::new().unwrap();
    let crippled = lab.dir().join("vnet-gw");
    let script = format!(
        "#!/bin/sh\n\
         if [ \"$1\" = run ]; then sed -i 's/\"10[.]61[.]0[.]4\"/\"10.61.0.44\"/' \"$3\"; fi\n\
         exec {} \"$@\"\n",
        binary("vnet-gw").unwrap().display()
    );
    fs::write(&crippled, script).unwrap();
    fs::set_permissions(&crippled, fs::Permissions::from_mode(0o755)).unwrap();
    let output = xtask(&crippled).arg("--once").output().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success(), "{stdout}");
    assert!(stdout.contains("NOT OK"), "{stdout}");
}
