//! The daemon as a child: started, asked and ended through its command line, as a person would.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Output},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::{Lab, Netns, Process};

/// How long starting, reloading or ending may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running daemon.
#[derive(Debug)]
pub struct Daemon {
    binary: PathBuf,
    host: Netns,
    instance: String,
    config: PathBuf,
    /// Whether it is given `config`.
    configured: bool,
    args: Vec<String>,
    log: PathBuf,
    /// What it keeps goes with the lab.
    state: PathBuf,
    process: Option<Process>,
}

impl Daemon {
    /// Starts `binary run` in the namespace `host` with `template` as its file, and returns when it
    /// answers on its socket.
    pub fn start(
        lab: &Lab,
        binary: &Path,
        host: &Netns,
        instance: String,
        template: &Value,
        args: &[&str],
    ) -> Result<Self> {
        let mut daemon = Self::new(lab, binary, host, instance, args);
        daemon.configured = true;
        daemon.write(template)?;
        daemon.launch()?;
        Ok(daemon)
    }

    /// The same without a file: what it has comes from its store, and over its API.
    pub fn start_without_file(
        lab: &Lab,
        binary: &Path,
        host: &Netns,
        instance: String,
        args: &[&str],
    ) -> Result<Self> {
        let mut daemon = Self::new(lab, binary, host, instance, args);
        daemon.launch()?;
        Ok(daemon)
    }

    fn new(lab: &Lab, binary: &Path, host: &Netns, instance: String, args: &[&str]) -> Self {
        Self {
            binary: binary.to_owned(),
            host: host.clone(),
            config: lab.dir().join(format!("{instance}.json")),
            configured: false,
            log: lab.dir().join(format!("{instance}.log")),
            state: lab.dir().join(format!("{instance}.state")),
            instance,
            args: args.iter().map(|&arg| arg.to_owned()).collect(),
            process: None,
        }
    }

    /// Starts it again, after [`Daemon::kill`] or [`Daemon::terminate`], with the same arguments.
    pub fn launch(&mut self) -> Result<()> {
        let mut command = self.host.command(&self.binary);
        command.arg("run");
        if self.configured {
            command.arg("--config").arg(&self.config);
        }
        command.arg("--state-dir").arg(&self.state);
        command
            .args(["--instance", &self.instance])
            .args(&self.args);
        if !self.args.iter().any(|arg| arg == "--listen") {
            command.args(["--listen", "off"]);
        }
        let mut process = Process::spawn(&mut command, &self.log)?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = process.ended()? {
                bail!(
                    "the daemon ended, {status}; it said:\n{}",
                    process.log().trim_end()
                );
            }
            if self
                .command(&["ports"])
                .output()
                .is_ok_and(|output| output.status.success())
            {
                self.process = Some(process);
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!(
                    "the daemon does not answer after {} s; it said:\n{}",
                    PATIENCE.as_secs(),
                    process.log().trim_end()
                );
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    pub fn instance(&self) -> &str {
        &self.instance
    }

    pub fn config(&self) -> &Path {
        &self.config
    }

    /// Where it keeps its store, keys and certificates.
    pub fn state(&self) -> &Path {
        &self.state
    }

    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// The process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    /// Everything this and earlier launches have printed.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Its exit status, where it has ended by itself.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        match &mut self.process {
            Some(process) => process.ended(),
            None => Ok(None),
        }
    }

    /// The command line `vnet-gw ARGS` for this instance.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = self.host.command(&self.binary);
        command.args(args).args(["--instance", &self.instance]);
        command
    }

    /// Runs `vnet-gw ARGS` and returns what came of it, good or bad.
    pub fn output(&self, args: &[&str]) -> Result<Output> {
        self.command(args)
            .output()
            .with_context(|| format!("running vnet-gw {}", args.join(" ")))
    }

    /// What `vnet-gw ARGS --output json` prints.
    pub fn json(&self, args: &[&str]) -> Result<Value> {
        let shown = args.join(" ");
        let output = self
            .command(args)
            .args(["--output", "json"])
            .output()
            .with_context(|| format!("running vnet-gw {shown}"))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!(
                "`vnet-gw {shown}` failed, {}: {}",
                output.status,
                said.trim()
            );
        }
        serde_json::from_slice(&output.stdout)
            .with_context(|| format!("what `vnet-gw {shown} --output json` printed is no JSON"))
    }

    /// Replaces the file in one step, as an editor or a deployment tool does.
    pub fn write(&self, template: &Value) -> Result<()> {
        self.write_text(&serde_json::to_string_pretty(template)?)
    }

    /// The same with any text.
    pub fn write_text(&self, text: &str) -> Result<()> {
        let new = self.config.with_extension("json.new");
        fs::write(&new, text).with_context(|| format!("writing {}", new.display()))?;
        fs::rename(&new, &self.config)
            .with_context(|| format!("replacing {}", self.config.display()))
    }

    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.process
            .as_ref()
            .context("the daemon does not run")?
            .signal(signal)
    }

    /// SIGKILL: it gets no chance to say goodbye.
    pub fn kill(&mut self) -> Result<()> {
        self.process
            .take()
            .context("the daemon does not run")?
            .kill()
    }

    /// Sends `signal` and waits for the end.
    pub fn terminate(&mut self, signal: Signal) -> Result<ExitStatus> {
        let mut process = self.process.take().context("the daemon does not run")?;
        process.signal(signal)?;
        process.wait(PATIENCE)?.with_context(|| {
            format!(
                "the daemon still runs {} s after {signal}",
                PATIENCE.as_secs()
            )
        })
    }

    /// Waits until the daemon's log says `text` more often than it does in `before`.
    pub fn wait_for_log(&self, before: &str, text: &str) -> Result<()> {
        let times = before.matches(text).count();
        let deadline = Instant::now() + PATIENCE;
        while self.log().matches(text).count() <= times {
            if Instant::now() > deadline {
                bail!(
                    "the daemon did not say {text:?}; it said:\n{}",
                    self.log().trim_end()
                );
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}
