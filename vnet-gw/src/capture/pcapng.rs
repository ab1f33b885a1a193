//! pcapng (draft-ietf-opsawg-pcapng), as Wireshark and tcpdump read it: an interface for each port,
//! nanoseconds, directions, why a packet was dropped, and how many copies were lost.

use std::{
    borrow::Cow,
    io::{self, Write},
    net::IpAddr,
    time::Duration,
};

use pcap_file::{
    DataLink, Endianness, PcapError,
    pcapng::{
        PcapNgBlock, PcapNgWriter,
        blocks::{
            enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption},
            interface_description::{InterfaceDescriptionBlock, InterfaceDescriptionOption},
            interface_statistics::{InterfaceStatisticsBlock, InterfaceStatisticsOption},
            section_header::{SectionHeaderBlock, SectionHeaderOption},
        },
    },
};

use super::{Direction, Interface, Packet, Progress};

/// Exponent of ten of a second (if_tsresol).
const NANOSECONDS: u8 = 9;
/// epb_flags, bits 0 and 1, seen from the networkInterface, as if the workload captured itself.
const INBOUND: u32 = 1;
const OUTBOUND: u32 = 2;

/// A file or stream that is being written.
pub struct Pcapng<W: Write> {
    writer: PcapNgWriter<Counted<W>>,
    interfaces: u32,
}

struct Counted<W> {
    to: W,
    bytes: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

fn io_error(error: PcapError) -> io::Error {
    match error {
        PcapError::IoError(error) => error,
        other => io::Error::other(other),
    }
}

impl<W: Write> Pcapng<W> {
    /// Writes what stands before the packets.
    pub fn begin(to: W, interfaces: &[Interface], snap: u32) -> io::Result<Self> {
        let application = format!("vnet-gw {}", env!("CARGO_PKG_VERSION"));
        let section = SectionHeaderBlock {
            // The time of a statistics block is written as one number, of which the high half comes
            // first in the format.
            endianness: Endianness::Big,
            options: vec![SectionHeaderOption::UserApplication(Cow::Owned(
                application,
            ))],
            ..SectionHeaderBlock::default()
        };
        let to = Counted { to, bytes: 0 };
        let mut writer = PcapNgWriter::with_section_header(to, section).map_err(io_error)?;
        for interface in interfaces {
            writer
                .write_block(&description(interface, snap).into_block())
                .map_err(io_error)?;
        }
        writer.get_mut().flush()?;
        Ok(Self {
            writer,
            interfaces: interfaces.len() as u32,
        })
    }

    pub fn packet(&mut self, packet: &Packet<'_>) -> io::Result<()> {
        let flags = match packet.direction {
            Direction::Sent => OUTBOUND,
            Direction::Delivered => INBOUND,
        };
        let mut options = vec![EnhancedPacketOption::Flags(flags)];
        if let Some(reason) = packet.refused {
            let comment = if reason.is_drop() {
                format!("dropped: {}: {}", reason.name(), reason.help().trim())
            } else {
                format!("{}: {}", reason.name(), reason.help().trim())
            };
            options.push(EnhancedPacketOption::Comment(Cow::Owned(comment)));
        }
        let block = EnhancedPacketBlock {
            interface_id: packet.interface,
            timestamp: Duration::from_nanos(packet.time),
            original_len: packet.length,
            data: Cow::Borrowed(packet.bytes),
            options,
        };
        let written = self.writer.write_block(&block.into_block());
        written.map(drop).map_err(io_error)
    }

    pub fn written(&self) -> u64 {
        self.writer.get_ref().bytes
    }

    pub fn get_mut(&mut self) -> &mut W {
        &mut self.writer.get_mut().to
    }

    pub fn flush(&mut self) -> io::Result<()> {
        self.writer.get_mut().flush()
    }

    /// Writes how many packets there were, and how many copies were lost. Losses are counted for
    /// all of the session's ports together, and stand with the first.
    pub fn end(&mut self, progress: &Progress, time: u64) -> io::Result<()> {
        if self.interfaces == 0 {
            return Ok(());
        }
        let block = InterfaceStatisticsBlock {
            interface_id: 0,
            timestamp: time,
            options: vec![
                InterfaceStatisticsOption::IsbIfRecv(progress.packets + progress.lost),
                InterfaceStatisticsOption::IsbOsDrop(progress.lost),
                InterfaceStatisticsOption::IsbUsrDeliv(progress.packets),
            ],
        };
        self.writer
            .write_block(&block.into_block())
            .map_err(io_error)?;
        self.flush()
    }
}

fn description(interface: &Interface, snap: u32) -> InterfaceDescriptionBlock<'static> {
    let mut options = vec![
        InterfaceDescriptionOption::IfName(Cow::Owned(interface.device.clone())),
        InterfaceDescriptionOption::IfDescription(Cow::Owned(interface.nic.to_string())),
        InterfaceDescriptionOption::IfTsResol(NANOSECONDS),
        InterfaceDescriptionOption::IfMacAddr(Cow::Owned(interface.mac.to_vec())),
    ];
    for address in &interface.addresses {
        // With its mask, which is the host's own; with its prefix length.
        options.push(match address {
            IpAddr::V4(address) => InterfaceDescriptionOption::IfIpv4Addr(Cow::Owned(
                [address.octets(), [255; 4]].concat(),
            )),
            IpAddr::V6(address) => InterfaceDescriptionOption::IfIpv6Addr(Cow::Owned(
                [&address.octets()[..], &[128]].concat(),
            )),
        });
    }
    InterfaceDescriptionBlock {
        linktype: DataLink::ETHERNET,
        snaplen: snap,
        options,
    }
}
