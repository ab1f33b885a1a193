//! Packets for the tests, made and judged by code that shares nothing with what is tested.

use crate::packet::{VirtioHeader, virtio::gso};

pub(super) const PSH: u8 = 0x08;
pub(super) const ACK: u8 = 0x10;
pub(super) const FIN: u8 = 0x01;
pub(super) const SYN: u8 = 0x02;
pub(super) const CWR: u8 = 0x80;

#[derive(Clone, Debug)]
pub(super) struct Tcp {
    pub(super) v6: bool,
    pub(super) port: u16,
    pub(super) sequence: u32,
    pub(super) flags: u8,
    pub(super) id: u16,
    pub(super) options: Vec<u8>,
    pub(super) payload: Vec<u8>,
}

impl Tcp {
    pub(super) fn new(v6: bool, payload: &[u8]) -> Self {
        Self {
            v6,
            port: 40000,
            sequence: 0xffff_f000,
            flags: ACK,
            id: 0xfffe,
            options: vec![1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2],
            payload: payload.to_vec(),
        }
    }

    pub(super) fn transport(&self) -> Vec<u8> {
        let mut tcp = Vec::new();
        tcp.extend(self.port.to_be_bytes());
        tcp.extend(443u16.to_be_bytes());
        tcp.extend(self.sequence.to_be_bytes());
        tcp.extend(77u32.to_be_bytes());
        tcp.push(((20 + self.options.len()) / 4) as u8 * 16);
        tcp.push(self.flags);
        tcp.extend([0x01, 0xf5, 0, 0, 0, 0]);
        tcp.extend(&self.options);
        tcp.extend(&self.payload);
        tcp
    }

    /// With true checksums.
    pub(super) fn packet(&self) -> Vec<u8> {
        ip(self.v6, 6, self.id, true, self.transport(), Some(16))
    }

    /// A super-packet as it comes from the host, with the pseudo-header's sum only.
    pub(super) fn super_packet(&self, size: u16) -> (VirtioHeader, Vec<u8>) {
        let mut packet = self.packet();
        let start = if self.v6 { 40 } else { 20 };
        partial(&mut packet, start, 16);
        let header = VirtioHeader {
            flags: 1,
            gso_type: if self.v6 { gso::TCP_V6 } else { gso::TCP_V4 },
            hdr_len: (start + 20 + self.options.len()) as u16,
            gso_size: size,
            csum_start: start as u16,
            csum_offset: 16,
        };
        (header, packet)
    }
}

pub(super) fn udp(v6: bool, port: u16, id: u16, payload: &[u8]) -> Vec<u8> {
    let mut udp = Vec::new();
    udp.extend(port.to_be_bytes());
    udp.extend(5201u16.to_be_bytes());
    udp.extend((payload.len() as u16 + 8).to_be_bytes());
    udp.extend([0, 0]);
    udp.extend(payload);
    ip(v6, 17, id, false, udp, Some(6))
}

pub(super) fn udp_super_packet(v6: bool, payload: &[u8], size: u16) -> (VirtioHeader, Vec<u8>) {
    let mut packet = udp(v6, 40000, 9, payload);
    let start = if v6 { 40 } else { 20 };
    partial(&mut packet, start, 6);
    let header = VirtioHeader {
        flags: 1,
        gso_type: gso::UDP_L4,
        hdr_len: start as u16 + 8,
        gso_size: size,
        csum_start: start as u16,
        csum_offset: 6,
    };
    (header, packet)
}

/// The IP header in front, and the transport's checksum at its place in it.
pub(super) fn ip(
    v6: bool,
    protocol: u8,
    id: u16,
    dont_fragment: bool,
    mut transport: Vec<u8>,
    checksum_at: Option<usize>,
) -> Vec<u8> {
    let mut packet = Vec::new();
    if v6 {
        packet.extend([0x60, 0x0a, 0xbc, 0xde]);
        packet.extend((transport.len() as u16).to_be_bytes());
        packet.extend([protocol, 61]);
        packet.extend([0xfd, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4]);
        packet.extend([0xfd, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9]);
    } else {
        packet.extend([0x45, 0x02]);
        packet.extend((transport.len() as u16 + 20).to_be_bytes());
        packet.extend(id.to_be_bytes());
        packet.extend([if dont_fragment { 0x40 } else { 0 }, 0, 61, protocol, 0, 0]);
        packet.extend([10, 1, 0, 4, 10, 4, 0, 9]);
        let checksum = !naive_sum(&packet);
        packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    }
    if let Some(at) = checksum_at {
        transport[at..at + 2].fill(0);
        let checksum = !naive_sum(
            &[
                pseudo(&packet, protocol, transport.len()),
                transport.clone(),
            ]
            .concat(),
        );
        let checksum = if checksum == 0 { 0xffff } else { checksum };
        transport[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
    }
    packet.extend(transport);
    packet
}

fn pseudo(packet: &[u8], protocol: u8, length: usize) -> Vec<u8> {
    let addresses = if packet[0] >> 4 == 6 {
        &packet[8..40]
    } else {
        &packet[12..20]
    };
    let mut pseudo = addresses.to_vec();
    pseudo.extend((length as u32).to_be_bytes());
    pseudo.extend([0, 0, 0, protocol]);
    pseudo
}

fn partial(packet: &mut [u8], start: usize, offset: usize) {
    let protocol = if start == 40 { packet[6] } else { packet[9] };
    let sum = naive_sum(&pseudo(packet, protocol, packet.len() - start));
    packet[start + offset..start + offset + 2].copy_from_slice(&sum.to_be_bytes());
}

/// RFC 1071, word by word.
pub(super) fn naive_sum(bytes: &[u8]) -> u16 {
    let mut sum = 0u32;
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// Lengths agree with the slice and all checksums are right.
pub(super) fn assert_true(packet: &[u8]) {
    let (start, protocol, length) = if packet[0] >> 4 == 6 {
        let length = u16::from_be_bytes([packet[4], packet[5]]);
        (40, packet[6], usize::from(length) + 40)
    } else {
        let start = usize::from(packet[0] & 0xf) * 4;
        assert_eq!(naive_sum(&packet[..start]), 0xffff, "IPv4 header");
        let length = u16::from_be_bytes([packet[2], packet[3]]);
        (start, packet[9], usize::from(length))
    };
    assert_eq!(length, packet.len());
    let transport = &packet[start..];
    let mut summed = match protocol {
        1 => Vec::new(),
        _ => pseudo(packet, protocol, transport.len()),
    };
    summed.extend(transport);
    assert_eq!(naive_sum(&summed), 0xffff, "transport");
    if protocol == 17 {
        let length = u16::from_be_bytes([transport[4], transport[5]]);
        assert_eq!(usize::from(length), transport.len());
        assert_ne!(transport[6..8], [0, 0]);
    }
}
