//! `vnet-gw packet-capture`

use std::{
    fs::OpenOptions,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, absolute},
};

use anyhow::{Context, Result};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use super::{
    Verdict,
    args::{
        CaptureWhat, Cli, OutputFormat, PacketCaptureArgs, PacketCaptureCommand, StartCaptureArgs,
        StreamCaptureArgs,
    },
    output, source,
    table::{Left, Right, Table},
};
use crate::control::{CaptureList, CaptureRow, ClientError, Request, Response, short};

pub(super) fn run(cli: &Cli, args: &PacketCaptureArgs) -> Result<Verdict> {
    match &args.command {
        PacketCaptureCommand::Start(args) => start(cli, args),
        PacketCaptureCommand::Stream(args) => stream(cli, args),
        PacketCaptureCommand::Stop(args) => {
            let name = args.name.clone();
            shown(cli, &one(cli, Request::StopPacketCapture { name })?)
        }
        PacketCaptureCommand::List => list(cli),
        PacketCaptureCommand::Show(args) => {
            let all = all(cli)?.value;
            let called = |one: &&CaptureRow| {
                one.name.eq_ignore_ascii_case(&args.name) || one.id.eq_ignore_ascii_case(&args.name)
            };
            let found: Vec<&CaptureRow> = all.iter().filter(called).collect();
            match found.as_slice() {
                [one] => shown(cli, one),
                [] => anyhow::bail!("packet capture {:?}: there is none of that name", args.name),
                _ => anyhow::bail!(
                    "packet capture {:?}: there are several of that name; use the id",
                    args.name
                ),
            }
        }
        PacketCaptureCommand::Delete(args) => {
            let name = args.name.clone();
            let request = Request::DeletePacketCapture { name };
            source::ask(cli, request, |answer| {
                (answer == Response::Done).then_some(())
            })?;
            Ok(Verdict::Good)
        }
    }
}

fn start(cli: &Cli, args: &StartCaptureArgs) -> Result<Verdict> {
    let mut properties = properties(&args.what)?;
    let file = absolute(&args.file).with_context(|| args.file.display().to_string())?;
    properties["storageLocation"] = json!({ "filePath": file });
    let request = Request::StartPacketCapture {
        name: args.name.clone(),
        properties,
    };
    shown(cli, &one(cli, request)?)
}

fn stream(cli: &Cli, args: &StreamCaptureArgs) -> Result<Verdict> {
    let mut daemon = source::daemon(cli)?;
    let request = Request::CapturePackets {
        properties: properties(&args.what)?,
    };
    let first = daemon.ask(request)?;
    // Made when the daemon agreed, so that a mistake leaves no empty file.
    let (mut out, name) = open(&args.write)?;
    daemon.patient()?;
    let mut answer = Some(first);
    loop {
        match answer {
            Some(Response::Pcapng(text)) => {
                let piece = BASE64_STANDARD
                    .decode(text)
                    .map_err(|_| ClientError::Unexpected)?;
                let written = out.write_all(&piece).and_then(|()| out.flush());
                written.with_context(|| format!("writing to {name}"))?;
            }
            Some(Response::End(why)) => {
                eprintln!("{why}");
                return Ok(Verdict::Good);
            }
            Some(_) => return Err(ClientError::Unexpected.into()),
            None => return Err(ClientError::Gone(daemon.path().to_owned()).into()),
        }
        answer = daemon.receive()?;
    }
}

fn open(path: &Path) -> Result<(Box<dyn Write>, String)> {
    if path.as_os_str() == "-" {
        return Ok((Box::new(io::stdout()), "standard output".to_owned()));
    }
    let name = path.display().to_string();
    let opened = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    let file = opened.with_context(|| format!("making {name}"))?;
    Ok((Box::new(file), name))
}

/// `PacketCaptureParameters`
fn properties(what: &CaptureWhat) -> Result<Value> {
    let target = what.target.nic.as_ref().or(what.target.gateway.as_ref());
    let mut properties = json!({
        "target": target,
        "bytesToCapturePerPacket": what.packet_bytes,
    });
    if let Some(limit) = what.time_limit {
        properties["timeLimitInSeconds"] = limit.as_secs().into();
    }
    if let Some(bytes) = what.total_bytes {
        properties["totalBytesPerSession"] = bytes.into();
    }
    let mut filter = json!({});
    for (name, text) in [
        ("protocol", &what.protocol),
        ("localIPAddress", &what.local_address),
        ("remoteIPAddress", &what.remote_address),
        ("localPort", &what.local_port),
        ("remotePort", &what.remote_port),
    ] {
        if let Some(text) = text {
            filter[name] = text.as_str().into();
        }
    }
    if let Some(filters) = &what.filters {
        let filters: Value = serde_json::from_str(filters).context("--filters")?;
        properties["filters"] = filters;
    } else if filter.as_object().is_some_and(|fields| !fields.is_empty()) {
        properties["filters"] = json!([filter]);
    }
    Ok(properties)
}

fn one(cli: &Cli, request: Request) -> Result<CaptureRow> {
    source::ask(cli, request, |answer| match answer {
        Response::PacketCapture(row) => Some(*row),
        _ => None,
    })
}

fn all(cli: &Cli) -> Result<CaptureList> {
    source::ask(cli, Request::PacketCaptures {}, |answer| match answer {
        Response::PacketCaptures(list) => Some(list),
        _ => None,
    })
}

fn list(cli: &Cli) -> Result<Verdict> {
    let captures = all(cli)?;
    match cli.output {
        OutputFormat::Json => output::json(&captures)?,
        OutputFormat::Table => output::print(&text(&captures.value))?,
    }
    Ok(Verdict::Good)
}

fn shown(cli: &Cli, capture: &CaptureRow) -> Result<Verdict> {
    match cli.output {
        OutputFormat::Json => output::json(capture)?,
        OutputFormat::Table => output::print(&text(std::slice::from_ref(capture)))?,
    }
    Ok(Verdict::Good)
}

fn text(captures: &[CaptureRow]) -> String {
    let mut table = Table::new(&[
        ("NAME", Left),
        ("OF", Left),
        ("STATE", Left),
        ("PACKETS", Right),
        ("WRITTEN", Right),
        ("LOST", Right),
        ("SINCE", Left),
        ("FILE", Left),
    ]);
    let mut errors = String::new();
    for capture in captures {
        let status = &capture.status;
        let property = |path: &str| {
            let value = capture.properties.pointer(path).and_then(Value::as_str);
            value.unwrap_or("-").to_owned()
        };
        let state = match &status.stop_reason {
            Some(why) => format!("{} ({why})", status.packet_capture_status),
            None => status.packet_capture_status.clone(),
        };
        table.row([
            capture.name.clone(),
            short(&property("/target")),
            state,
            output::grouped(status.packets),
            output::grouped(status.bytes_written),
            output::grouped(status.lost),
            status.capture_start_time.clone().unwrap_or_default(),
            property("/storageLocation/filePath"),
        ]);
        for error in &status.packet_capture_error {
            errors.push_str(&format!("\n{}: {error}\n", capture.name));
        }
    }
    if table.is_empty() {
        return "no packet captures\n".to_owned();
    }
    table.text() + &errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::CaptureStatus;

    #[test]
    fn a_capture_is_a_row_and_its_errors_stand_below() {
        let capture = CaptureRow {
            name: "one".into(),
            id: "/x/one".into(),
            properties: json!({
                "target": "/subscriptions/s/resourceGroups/vnet-gw/providers/Microsoft.Network/networkInterfaces/web1",
                "storageLocation": { "filePath": "/var/captures/one.pcapng" },
            }),
            status: CaptureStatus {
                packet_capture_status: "Error".into(),
                stop_reason: Some("InternalError".into()),
                packet_capture_error: vec!["writing /var/captures/one.pcapng: no space".into()],
                packets: 1234,
                ..CaptureStatus::default()
            },
        };
        let text = text(&[capture]);
        assert!(text.contains("web1"), "{text}");
        assert!(text.contains("Error (InternalError)"), "{text}");
        assert!(text.contains("1,234"), "{text}");
        assert!(
            text.ends_with("\none: writing /var/captures/one.pcapng: no space\n"),
            "{text}"
        );
    }
}
