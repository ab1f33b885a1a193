//! VPN connections and their keys.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand};

use super::period;
use crate::daemon::keys::{KEY_LENGTH, KEY_LONGEST};

#[derive(Debug, Args)]
pub struct ConnectionsArgs {
    /// Again and again
    #[arg(long)]
    pub watch: bool,

    /// Time between two looks
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = period, requires = "watch")]
    pub interval: Duration,
}

#[derive(Debug, Args)]
pub struct ConnectionArgs {
    #[command(subcommand)]
    pub command: ConnectionCommand,
}

#[derive(Debug, Subcommand)]
pub enum ConnectionCommand {
    /// Everything about a connection and each of its tunnels
    Show(ConnectionName),
    /// Make the tunnels of a connection anew
    Reset(ConnectionName),
    /// The shared key of a connection
    SharedKey(SharedKeyArgs),
}

#[derive(Debug, Args)]
pub struct ConnectionName {
    /// The connection: NAME, GROUP/NAME or its id
    #[arg(value_name = "NAME")]
    pub name: String,
}

#[derive(Debug, Args)]
pub struct SharedKeyArgs {
    #[command(subcommand)]
    pub command: SharedKeyCommand,
}

#[derive(Debug, Subcommand)]
pub enum SharedKeyCommand {
    /// Print the key
    Show(ConnectionName),
    /// Set the key to what is read from standard input, and make the tunnels anew
    ///
    /// The first line is the key. It is not taken from the command line, where every process of
    /// this host could read it.
    Set(SetKeyArgs),
    /// Make a new key, print it, and make the tunnels anew
    Reset(ResetKeyArgs),
}

#[derive(Debug, Args)]
pub struct SetKeyArgs {
    #[command(flatten)]
    pub connection: ConnectionName,

    /// Read the key from this file instead
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct ResetKeyArgs {
    #[command(flatten)]
    pub connection: ConnectionName,

    /// How many characters
    #[arg(long, value_name = "N", default_value_t = KEY_LENGTH as u16,
        value_parser = clap::value_parser!(u16).range(1..=KEY_LONGEST as i64))]
    pub length: u16,
}
