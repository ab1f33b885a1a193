use proptest::{collection::vec, prelude::*};

use super::build::{ACK, CWR, FIN, PSH, SYN, Tcp, assert_true, udp, udp_super_packet};
use crate::packet::{SegmentError, Segments, VirtioHeader, finish_checksum, virtio::gso};

/// All segments, written one by one into a slot as short as they are.
fn cut(header: &VirtioHeader, packet: &[u8]) -> Vec<Vec<u8>> {
    let segments = Segments::new(header, packet).expect("a packet that can be cut");
    let cut: Vec<Vec<u8>> = (0..segments.len())
        .map(|index| {
            let mut out = vec![0xee; segments.segment_len(index)];
            assert_eq!(segments.write(index, &mut out[1..]), None, "too short");
            assert_eq!(segments.write(index, &mut out), Some(out.len()));
            out
        })
        .collect();
    assert_eq!(segments.write(segments.len(), &mut [0; 70000]), None);
    assert_eq!(
        segments.total_len(),
        cut.iter().map(Vec::len).sum::<usize>()
    );
    cut
}

proptest! {
    #[test]
    fn tcp_segments_are_whole_packets_with_all_the_data(
        v6: bool,
        payload in vec(any::<u8>(), 0..20000),
        size in 1u16..3000,
        flags in prop::sample::select(vec![ACK, ACK | PSH, ACK | FIN | PSH, ACK | CWR, ACK | CWR | FIN]),
    ) {
        let size = size.max(payload.len() as u16 / 300 + 1);
        let tcp = Tcp { flags, ..Tcp::new(v6, &payload) };
        let (header, packet) = tcp.super_packet(size);
        let segments = cut(&header, &packet);
        let count = segments.len();
        prop_assert_eq!(count, payload.len().div_ceil(usize::from(size)).max(1));
        let mut chunks = payload.chunks(usize::from(size));
        for (index, segment) in segments.iter().enumerate() {
            assert_true(segment);
            // What a sender would have made of that part of the data.
            let mut expected = Tcp::new(v6, chunks.next().unwrap_or(&[]));
            expected.sequence = tcp.sequence.wrapping_add(u32::from(size) * index as u32);
            expected.id = tcp.id.wrapping_add(index as u16);
            expected.flags = flags;
            if index + 1 < count {
                expected.flags &= !(FIN | PSH);
            }
            if index > 0 {
                expected.flags &= !CWR;
            }
            prop_assert_eq!(segment, &expected.packet());
        }
    }

    #[test]
    fn udp_segments_are_whole_packets_with_all_the_data(
        v6: bool,
        payload in vec(any::<u8>(), 0..20000),
        size in 1u16..3000,
    ) {
        let size = size.max(payload.len() as u16 / 300 + 1);
        let (header, packet) = udp_super_packet(v6, &payload, size);
        let segments = cut(&header, &packet);
        let mut chunks = payload.chunks(usize::from(size));
        for (index, segment) in segments.iter().enumerate() {
            assert_true(segment);
            let chunk = chunks.next().unwrap_or(&[]);
            prop_assert_eq!(segment, &udp(v6, 40000, 9 + index as u16, chunk));
        }
        prop_assert_eq!(chunks.next(), None);
    }

    #[test]
    fn a_partial_checksum_is_finished(v6: bool, payload in vec(any::<u8>(), 0..2000), behind in 0..4usize) {
        for (mut header, packet) in [
            Tcp::new(v6, &payload).super_packet(100),
            udp_super_packet(v6, &payload, 100),
        ] {
            header.gso_type = gso::NONE;
            header.gso_size = 0;
            let mut long = packet.clone();
            // Ethernet's padding is no part of the packet.
            long.extend(vec![0x77; behind]);
            let single = cut(&header, &long);
            prop_assert_eq!(single.len(), 1);
            assert_true(&single[0]);
            finish_checksum(&header, &mut long).unwrap();
            prop_assert_eq!(&long[..packet.len()], &single[0]);
        }
    }

    /// Nothing that the kernel could hand over makes it panic.
    #[test]
    fn nonsense_is_refused_or_cut(
        bytes in vec(any::<u8>(), 0..120),
        v6: bool,
        keep in 0..60usize,
        header: [u8; 10],
        gso_type in 0..6u8,
    ) {
        let mut packet = Tcp::new(v6, &bytes).packet();
        let end = packet.len() - keep.min(packet.len());
        for (index, byte) in bytes.iter().enumerate().take(end / 3) {
            packet[index * 3] ^= byte & bytes[0];
        }
        let header = VirtioHeader { gso_type, ..VirtioHeader::from_bytes(&header) };
        if let Ok(segments) = Segments::new(&header, &packet[..end]) {
            let mut out = vec![0; 70000];
            for index in 0..segments.len() {
                prop_assert_eq!(segments.write(index, &mut out), Some(segments.segment_len(index)));
            }
        }
        let _ = finish_checksum(&header, &mut packet[..end]);
    }
}

#[test]
fn a_complete_packet_passes_as_it_is() {
    let packet = Tcp {
        flags: SYN,
        ..Tcp::new(false, b"")
    }
    .packet();
    assert_eq!(cut(&VirtioHeader::default(), &packet), [packet]);
}

#[test]
fn what_does_not_fit_its_header_is_refused() {
    let (good, packet) = Tcp::new(false, &[1; 500]).super_packet(100);
    let (udp_header, udp_packet) = udp_super_packet(true, &[1; 500], 100);
    let refusal = |header: VirtioHeader, packet: &[u8]| Segments::new(&header, packet).err();
    assert_eq!(refusal(good, &packet), None);
    assert_eq!(refusal(good, &packet[..400]), Some(SegmentError::NotIp));
    assert_eq!(refusal(good, &[]), Some(SegmentError::NotIp));
    let mismatch = Some(SegmentError::Mismatch);
    assert_eq!(
        refusal(
            VirtioHeader {
                gso_size: 0,
                ..good
            },
            &packet
        ),
        mismatch
    );
    assert_eq!(
        refusal(
            VirtioHeader {
                gso_type: gso::TCP_V6,
                ..good
            },
            &packet
        ),
        mismatch
    );
    assert_eq!(
        refusal(
            VirtioHeader {
                gso_type: gso::UDP_L4,
                ..good
            },
            &packet
        ),
        mismatch
    );
    assert_eq!(refusal(good, &udp_packet), mismatch);
    assert_eq!(
        refusal(
            VirtioHeader {
                gso_type: gso::TCP_V4,
                ..udp_header
            },
            &udp_packet
        ),
        mismatch
    );
    // UDP fragmentation offload, gone from Linux.
    assert_eq!(
        refusal(
            VirtioHeader {
                gso_type: 3,
                ..good
            },
            &packet
        ),
        Some(SegmentError::Type(3))
    );
    let outside = VirtioHeader {
        gso_type: gso::NONE,
        csum_start: 540,
        ..good
    };
    assert_eq!(refusal(outside, &packet), Some(SegmentError::Checksum));
    let mut fragment = packet;
    fragment[6] = 0x20;
    assert_eq!(refusal(good, &fragment), mismatch);
}

#[test]
fn the_virtio_header_counts_from_the_link_or_from_ip() {
    let bytes = [1, 1, 66, 0, 0x46, 5, 34, 0, 16, 0];
    let frame = VirtioHeader::from_bytes(&bytes);
    assert_eq!(frame.to_bytes(), bytes);
    if cfg!(target_endian = "little") {
        assert_eq!(
            (frame.hdr_len, frame.gso_size, frame.csum_start),
            (66, 1350, 34)
        );
    }
    let packet = frame
        .without_link(14)
        .expect("the checksum is behind the link header");
    assert_eq!(
        (packet.hdr_len, packet.csum_start),
        (frame.hdr_len - 14, frame.csum_start - 14)
    );
    assert_eq!(packet.with_link(14), frame);
    assert_eq!(
        VirtioHeader {
            csum_start: 13,
            ..frame
        }
        .without_link(14),
        None
    );
    let plain = VirtioHeader::default();
    assert_eq!(plain.without_link(14), Some(plain));
    assert_eq!(plain.with_link(14), plain);
}
