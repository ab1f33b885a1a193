//! `vnet-gw principal`, `vnet-gw activity-log`

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use crate::identity::{self, Role};

#[derive(Debug, Args)]
pub struct PrincipalArgs {
    #[command(subcommand)]
    pub command: PrincipalCommand,
}

#[derive(Debug, Subcommand)]
pub enum PrincipalCommand {
    /// Make a service principal, and print its secret this once
    Create(CreatePrincipalArgs),
    /// The service principals, their roles, and when their secrets end
    List,
    /// Make a new secret and print it; those before it are void
    Reset(ResetPrincipalArgs),
    /// Delete a service principal; its tokens are void at once
    Delete(PrincipalName),
    /// Give a role at a scope
    Assign(AssignArgs),
    /// Take a role at a scope away
    Unassign(AssignArgs),
}

#[derive(Debug, Args)]
pub struct PrincipalName {
    /// Its name, client id or object id
    #[arg(value_name = "NAME")]
    pub name: String,
}

#[derive(Debug, Args)]
pub struct CreatePrincipalArgs {
    /// What it is called
    #[arg(value_name = "NAME")]
    pub name: String,

    /// What it may do
    #[arg(long, value_enum, default_value_t)]
    pub role: RoleArg,

    /// Where: /subscriptions/ID or /subscriptions/ID/resourceGroups/NAME [default: the instance's
    /// subscription]
    #[arg(long, value_name = "SCOPE")]
    pub scope: Option<String>,

    #[command(flatten)]
    pub lifetime: LifetimeArgs,
}

#[derive(Debug, Args)]
pub struct ResetPrincipalArgs {
    #[command(flatten)]
    pub principal: PrincipalName,

    #[command(flatten)]
    pub lifetime: LifetimeArgs,
}

#[derive(Debug, Args)]
pub struct LifetimeArgs {
    /// How long the secret is good for, as in 90d [default: 1y]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub lifetime: Option<Duration>,
}

impl LifetimeArgs {
    pub fn seconds(&self) -> u64 {
        self.lifetime.unwrap_or(identity::LIFETIME).as_secs()
    }
}

#[derive(Debug, Args)]
pub struct AssignArgs {
    #[command(flatten)]
    pub principal: PrincipalName,

    /// What it may do
    #[arg(long, value_enum, default_value_t)]
    pub role: RoleArg,

    /// Where: /subscriptions/ID or /subscriptions/ID/resourceGroups/NAME
    #[arg(long, value_name = "SCOPE")]
    pub scope: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum RoleArg {
    /// Look at everything but shared keys
    #[default]
    #[value(name = "Reader", alias = "reader")]
    Reader,
    /// Change everything, and see shared keys
    #[value(name = "Network Contributor", alias = "network-contributor")]
    NetworkContributor,
}

impl From<RoleArg> for Role {
    fn from(role: RoleArg) -> Self {
        match role {
            RoleArg::Reader => Self::Reader,
            RoleArg::NetworkContributor => Self::NetworkContributor,
        }
    }
}

#[derive(Debug, Args)]
pub struct ActivityLogArgs {
    /// What is younger than this, as in 1h
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, conflicts_with = "since")]
    pub offset: Option<Duration>,

    /// What happened since then, as in 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub since: Option<String>,

    /// Of this resource, resource group or subscription (an id), and what is below
    #[arg(long, value_name = "ID")]
    pub resource: Option<String>,

    /// By this one: a service principal, a local user, or `file`
    #[arg(long, value_name = "NAME")]
    pub caller: Option<String>,

    /// The newest so many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub top: u32,
}

fn time(text: &str) -> Result<String, String> {
    humantime::parse_rfc3339_weak(text)
        .map(|at| humantime::format_rfc3339_seconds(at).to_string())
        .map_err(|error| format!("{error}; as in 2026-01-31T12:00:00Z"))
}
