//! Capture files as Wireshark reads them.

use std::{
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};

/// The program, and Debian's package that has it.
pub const NEEDED: (&str, &str) = ("tshark", "tshark");

/// One packet of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub interface: String,
    pub description: String,
    /// Seen from the interface.
    pub outbound: bool,
    /// Seconds since 1970, with nine digits after the point.
    pub time: String,
    pub source: String,
    pub destination: String,
    /// The topmost protocol, as Wireshark calls it.
    pub protocol: String,
    pub length: usize,
    pub captured: usize,
    pub comment: String,
    /// TCP's or UDP's destination port.
    pub port: String,
}

const FIELDS: [&str; 13] = [
    "frame.interface_name",
    "frame.interface_description",
    "frame.packet_flags_direction",
    "frame.time_epoch",
    "ip.src",
    "ip.dst",
    "ipv6.src",
    "ipv6.dst",
    "_ws.col.Protocol",
    "frame.len",
    "frame.cap_len",
    "frame.comment",
    "tcp.dstport",
];

/// Every packet of a file.
///
/// # Errors
/// Where there is no tshark, or where it finds anything wrong with the file.
pub fn read(path: &Path) -> Result<Vec<Row>> {
    run(Command::new(NEEDED.0).arg("-r").arg(path), &[])
}

/// The same, of bytes.
pub fn read_bytes(bytes: &[u8]) -> Result<Vec<Row>> {
    run(Command::new(NEEDED.0).args(["-r", "-"]), bytes)
}

fn run(command: &mut Command, input: &[u8]) -> Result<Vec<Row>> {
    // Outer addresses only: an ICMP error quotes others.
    command.args([
        "-n",
        "-T",
        "fields",
        "-E",
        "separator=|",
        "-E",
        "occurrence=f",
    ]);
    for field in FIELDS {
        command.args(["-e", field]);
    }
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| {
            format!(
                "running {}: install Debian's package {}",
                NEEDED.0, NEEDED.1
            )
        })?;
    child.stdin.take().context("no stdin")?.write_all(input)?;
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    let complaints: Vec<&str> = said
        .lines()
        .filter(|line| !line.is_empty() && !line.contains("Running as user"))
        .collect();
    ensure!(
        output.status.success() && complaints.is_empty(),
        "tshark: {}",
        complaints.join("; ")
    );
    String::from_utf8(output.stdout)?.lines().map(row).collect()
}

fn row(line: &str) -> Result<Row> {
    let fields: Vec<&str> = line.split('|').collect();
    let [
        interface,
        description,
        direction,
        time,
        source4,
        destination4,
        source6,
        destination6,
        protocol,
        length,
        captured,
        comment,
        port,
    ] = fields.as_slice()
    else {
        bail!("tshark printed {line:?}");
    };
    Ok(Row {
        interface: (*interface).to_owned(),
        description: (*description).to_owned(),
        outbound: match *direction {
            "0x00000001" | "1" => false,
            "0x00000002" | "2" => true,
            other => bail!("direction {other:?}"),
        },
        time: (*time).to_owned(),
        source: [*source4, *source6].concat(),
        destination: [*destination4, *destination6].concat(),
        protocol: (*protocol).to_owned(),
        length: length.parse()?,
        captured: captured.parse()?,
        comment: (*comment).to_owned(),
        port: (*port).to_owned(),
    })
}
