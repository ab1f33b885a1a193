//! Azure's CLI and SDKs against a daemon, as somebody uses them who knows Azure and has its address,
//! its certificate authority and a service principal.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::OnceLock,
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use vnet_gw_lab::{Clients, Netns};

/// Where the Python programs of the tests are.
const PROGRAMS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/clients");

/// Somebody who signs in.
#[derive(Clone, Debug)]
pub struct Account {
    /// `https://HOST:PORT`
    pub endpoint: String,
    /// The file of the authority that the server's certificate is of.
    pub ca: PathBuf,
    pub tenant: String,
    pub subscription: String,
    pub client_id: String,
    pub secret: String,
}

/// The clients of one account in one namespace, with a configuration of their own.
pub struct Az {
    clients: Clients,
    netns: Netns,
    home: PathBuf,
    pub account: Account,
}

impl Az {
    /// Registers the cloud and signs in. `home` is a directory that is not there yet.
    pub fn login(netns: &Netns, home: PathBuf, account: Account) -> Result<Self> {
        let az = Self::register(netns, home, account)?;
        let account = &az.account;
        let signed_in = az.json(&[
            "login",
            "--service-principal",
            "--username",
            &account.client_id,
            "--password",
            &account.secret,
            "--tenant",
            &account.tenant,
        ])?;
        let subscriptions = signed_in.as_array().context("no list of subscriptions")?;
        let known = |one: &&Value| one["id"] == account.subscription.as_str();
        let own = subscriptions.iter().find(known);
        let own = own.with_context(|| format!("signed in, but not to it: {signed_in:#}"))?;
        ensure!(own["state"] == "Enabled", "{own:#}");
        ensure!(own["tenantId"] == account.tenant.as_str(), "{own:#}");
        Ok(az)
    }

    /// Makes the daemon a cloud that the CLI knows.
    pub fn register(netns: &Netns, home: PathBuf, account: Account) -> Result<Self> {
        fs::create_dir(&home).with_context(|| format!("creating {}", home.display()))?;
        let az = Self {
            clients: clients()?,
            netns: netns.clone(),
            home,
            account,
        };
        az.run(&[
            "cloud",
            "register",
            "--name",
            "vnet-gw",
            "--endpoint-resource-manager",
            &az.account.endpoint,
        ])?;
        az.run(&["cloud", "set", "--name", "vnet-gw"])?;
        // There is no Microsoft to ask whether it knows this authority.
        az.run(&["config", "set", "core.instance_discovery=false"])?;
        Ok(az)
    }

    /// Runs `az ARGS`, which must succeed.
    pub fn run(&self, args: &[&str]) -> Result<String> {
        let output = self.output(args)?;
        if !output.status.success() {
            bail!("{}: {}", shown(args), said(&output));
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    /// What `az ARGS` prints as JSON.
    pub fn json(&self, args: &[&str]) -> Result<Value> {
        let text = self.run(args)?;
        serde_json::from_str(&text).with_context(|| format!("{}: no JSON: {text}", shown(args)))
    }

    /// What `az ARGS` says, which must fail.
    pub fn refused(&self, args: &[&str]) -> Result<String> {
        let output = self.output(args)?;
        if output.status.success() {
            let text = String::from_utf8_lossy(&output.stdout);
            bail!("{} succeeded: {text}", shown(args));
        }
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// What a program of the tests, in Python and with the SDKs, makes of `input`.
    pub fn python(&self, program: &str, input: &Value) -> Result<Value> {
        let mut command = self.command("python");
        command
            .arg(Path::new(PROGRAMS).join(program))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let account = &self.account;
        let input = json!({
            "endpoint": account.endpoint, "tenant": account.tenant,
            "subscription": account.subscription, "clientId": account.client_id,
            "secret": account.secret, "input": input,
        });
        let mut child = command.spawn().context("starting Python")?;
        let mut pipe = child.stdin.take().context("no input")?;
        pipe.write_all(input.to_string().as_bytes())?;
        drop(pipe);
        let output = child.wait_with_output()?;
        ensure!(output.status.success(), "{program}: {}", said(&output));
        serde_json::from_slice(&output.stdout)
            .with_context(|| format!("{program}: {}", String::from_utf8_lossy(&output.stdout)))
    }

    fn output(&self, args: &[&str]) -> Result<Output> {
        let mut command = self.command("az");
        command.args(args).stdin(Stdio::null());
        command.output().with_context(|| shown(args))
    }

    fn command(&self, program: &str) -> Command {
        let mut command = self.netns.command(self.clients.program(program));
        command
            .env("AZURE_CONFIG_DIR", &self.home)
            .env("REQUESTS_CA_BUNDLE", &self.account.ca)
            .env("AZURE_CORE_COLLECT_TELEMETRY", "false")
            .env("AZURE_CORE_NO_COLOR", "true")
            .env("AZURE_CORE_OUTPUT", "json")
            // Where bytecode is not kept, every command compiles the whole CLI again.
            .env_remove("PYTHONDONTWRITEBYTECODE")
            .env("PYTHONPYCACHEPREFIX", self.clients.bytecode())
            .current_dir(&self.home);
        command
    }
}

/// The virtual environment of all tests.
pub fn clients() -> Result<Clients> {
    static CLIENTS: OnceLock<Clients> = OnceLock::new();
    if let Some(clients) = CLIENTS.get() {
        return Ok(clients.clone());
    }
    let made = Clients::ensure(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"))?;
    Ok(CLIENTS.get_or_init(|| made).clone())
}

fn shown(args: &[&str]) -> String {
    // A secret on the command line is the tests' own, but failures are read by everybody.
    let secret = |i: usize| i > 0 && matches!(args[i - 1], "--password" | "--shared-key");
    let args: Vec<&str> = (0..args.len())
        .map(|i| if secret(i) { "…" } else { args[i] })
        .collect();
    format!("az {}", args.join(" "))
}

fn said(output: &Output) -> String {
    format!(
        "{}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}
