//! `vnet-gw connection`

use std::{
    fs,
    io::{self, BufRead, IsTerminal, Read},
    path::Path,
};

use anyhow::{Context, Result};
use zeroize::Zeroizing;

use super::{
    Verdict,
    args::{Cli, ConnectionArgs, ConnectionCommand, OutputFormat, SharedKeyCommand},
    effective_routes::joined,
    output::{self, bytes, grouped},
    source,
    table::{Left, Right, Table, pairs},
};
use crate::control::{ConnectionRow, KeyText, Request, Response, SharedKeyReply, short};

pub(super) fn run(cli: &Cli, args: &ConnectionArgs) -> Result<Verdict> {
    match &args.command {
        ConnectionCommand::Show(of) => show(cli, &of.name),
        ConnectionCommand::Reset(of) => reset(cli, &of.name),
        ConnectionCommand::SharedKey(args) => shared_key(cli, &args.command),
    }
}

fn show(cli: &Cli, name: &str) -> Result<Verdict> {
    let request = Request::Connection {
        connection: name.to_owned(),
    };
    let row = source::ask(cli, request, |answer| match answer {
        Response::Connection(row) => Some(*row),
        _ => None,
    })?;
    match cli.output {
        OutputFormat::Json => output::json(&row)?,
        OutputFormat::Table => output::print(&text(&row))?,
    }
    Ok(Verdict::Good)
}

fn text(row: &ConnectionRow) -> String {
    let remote = row
        .virtual_network_gateway2
        .as_ref()
        .map(|gateway| ("remote gateway", short(&gateway.id)));
    let site = row
        .local_network_gateway2
        .as_ref()
        .map(|site| ("local network gateway", short(&site.id)));
    let mut lines = vec![
        ("connection", row.name.clone()),
        ("type", row.connection_type.clone()),
        ("gateway", short(&row.virtual_network_gateway1.id)),
    ];
    lines.extend(remote);
    lines.extend(site);
    lines.push(("status", row.connection_status.clone()));
    if let Some(reason) = &row.reason {
        lines.push(("reason", reason.clone()));
    }
    let established = row.last_connection_established_utc_time.clone();
    lines.extend([
        (
            "last established",
            established.unwrap_or_else(|| "never".to_owned()),
        ),
        ("data in", bytes(row.ingress_bytes_transferred)),
        ("data out", bytes(row.egress_bytes_transferred)),
        ("remote prefixes", joined(&row.remote_address_prefixes)),
    ]);
    let mut table = Table::new(&[
        ("TUNNEL", Left),
        ("STATUS", Left),
        ("PACKETS IN", Right),
        ("IN", Right),
        ("PACKETS OUT", Right),
        ("OUT", Right),
        ("LAST ESTABLISHED", Left),
        ("REASON AND DROPS", Left),
    ]);
    for tunnel in &row.tunnel_connection_status {
        let drops = tunnel
            .drops
            .iter()
            .map(|drop| format!("{} {}", grouped(drop.packets), drop.reason));
        let remarks: Vec<String> = tunnel.reason.iter().cloned().chain(drops).collect();
        let established = tunnel.last_connection_established_utc_time.clone();
        table.row([
            tunnel.tunnel.clone(),
            tunnel.connection_status.clone(),
            grouped(tunnel.ingress_packets_transferred),
            bytes(tunnel.ingress_bytes_transferred),
            grouped(tunnel.egress_packets_transferred),
            bytes(tunnel.egress_bytes_transferred),
            established.unwrap_or_else(|| "-".to_owned()),
            remarks.join("; "),
        ]);
    }
    let mut text = pairs(&lines);
    if !table.is_empty() {
        text.push('\n');
        text.push_str(&table.text());
    }
    text
}

fn reset(cli: &Cli, name: &str) -> Result<Verdict> {
    let request = Request::ResetConnection {
        connection: name.to_owned(),
    };
    source::ask(cli, request, |answer| {
        (answer == Response::Done).then_some(())
    })?;
    if cli.output == OutputFormat::Table {
        output::print(&format!("connection {name}: its tunnels are made anew\n"))?;
    }
    Ok(Verdict::Good)
}

fn shared_key(cli: &Cli, command: &SharedKeyCommand) -> Result<Verdict> {
    let (request, shown) = match command {
        SharedKeyCommand::Show(of) => {
            let connection = of.name.clone();
            (Request::SharedKey { connection }, true)
        }
        SharedKeyCommand::Set(args) => {
            let request = Request::SetSharedKey {
                connection: args.connection.name.clone(),
                value: read_key(args.file.as_deref())?,
            };
            (request, false)
        }
        SharedKeyCommand::Reset(args) => {
            let request = Request::ResetSharedKey {
                connection: args.connection.name.clone(),
                length: usize::from(args.length),
            };
            (request, true)
        }
    };
    let reply = source::ask(cli, request, |answer| match answer {
        Response::SharedKey(reply) => Some(reply),
        _ => None,
    })?;
    print_key(cli, &reply, shown)?;
    Ok(Verdict::Good)
}

fn print_key(cli: &Cli, reply: &SharedKeyReply, shown: bool) -> Result<()> {
    match (cli.output, shown) {
        (OutputFormat::Table, true) => output::print(&format!("{}\n", reply.value.expose())),
        (OutputFormat::Json, true) => output::json(reply),
        (OutputFormat::Table, false) => output::print(&format!(
            "connection {}: the key is set, its tunnels are made anew\n",
            short(&reply.id)
        )),
        // Who gave it knows it.
        (OutputFormat::Json, false) => output::json(&serde_json::json!({ "id": reply.id })),
    }
}

/// The first line.
fn read_key(file: Option<&Path>) -> Result<KeyText> {
    let mut text = Zeroizing::new(String::new());
    match file {
        Some(path) => {
            // A key has 128 characters at most; what is larger is not what was meant.
            let mut start = fs::File::open(path)
                .with_context(|| format!("the key in {}", path.display()))?
                .take(4096);
            start
                .read_to_string(&mut text)
                .with_context(|| format!("the key in {}", path.display()))?;
        }
        None => {
            if io::stdin().is_terminal() {
                eprintln!("the shared key, and Enter:");
            }
            let mut input = io::stdin().lock().take(4096);
            input
                .read_line(&mut text)
                .context("reading the key from standard input")?;
        }
    }
    Ok(KeyText::new(first_line(&text).to_owned()))
}

fn first_line(text: &str) -> &str {
    let line = text.split('\n').next().unwrap_or_default();
    line.strip_suffix('\r').unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::connections::tests::row;

    #[test]
    fn everything_is_shown_with_each_tunnel() {
        let text = text(&row());
        for part in [
            "remote gateway    VNet4GW\n",
            "data in           3.0 kB\n",
            "remote prefixes   10.41.0.0/16\n",
            "192.0.2.1 → 192.0.2.9  NotConnected",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn a_key_is_the_first_line_as_it_is() {
        for (text, key) in [
            ("abc\n", "abc"),
            ("abc\r\nd\n", "abc"),
            ("a b", "a b"),
            ("", ""),
        ] {
            assert_eq!(first_line(text), key);
        }
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("key");
        fs::write(&path, "abc123\n").unwrap();
        assert_eq!(read_key(Some(&path)).unwrap().expose(), "abc123");
        let error = read_key(Some(scratch.path())).unwrap_err();
        assert!(format!("{error:#}").contains("the key in "), "{error:#}");
    }
}
