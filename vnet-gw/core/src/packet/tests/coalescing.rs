use std::ops::Range;

use proptest::{collection::vec, prelude::*};

use super::build::{ACK, FIN, PSH, Tcp, assert_true, udp};
use crate::packet::{
    Coalescer, Segments, VirtioHeader,
    coalesce::MAX_SEGMENTS,
    virtio::{DATA_VALID, NEEDS_CSUM, gso},
};

/// What comes out of a batch, each packet put together from its parts.
fn coalesce(coalescer: &mut Coalescer, packets: &[Vec<u8>]) -> Vec<(VirtioHeader, Vec<u8>)> {
    let mut arena = Vec::new();
    let mut ranges: Vec<Range<usize>> = Vec::new();
    for packet in packets {
        // As they lie in a receive buffer: ESP's header before, padding and ICV behind.
        arena.extend([0xaa; 16]);
        ranges.push(arena.len()..arena.len() + packet.len());
        arena.extend(packet);
        arena.extend([0xbb; 18]);
    }
    for range in ranges {
        coalescer.push(&arena, range);
    }
    let mut out = Vec::new();
    coalescer.finish(&mut arena, |arena, header, parts| {
        assert!(parts.len() <= MAX_SEGMENTS);
        let packet: Vec<u8> = parts
            .iter()
            .flat_map(|part| &arena[part.clone()])
            .copied()
            .collect();
        assert!(packet.len() <= 65535);
        out.push((header, packet));
    });
    assert!(coalescer.is_empty());
    out
}

/// Super-packets cut again, others as they are.
fn cut(packets: &[(VirtioHeader, Vec<u8>)]) -> Vec<Vec<u8>> {
    let mut cut = Vec::new();
    for (header, packet) in packets {
        let segments = Segments::new(header, packet).expect("what was put together can be cut");
        for index in 0..segments.len() {
            let mut out = vec![0; segments.segment_len(index)];
            segments.write(index, &mut out).expect("as long as it says");
            cut.push(out);
        }
    }
    cut
}

/// Packets of a flow that an honest sender might send, and some that it might not.
#[derive(Clone, Debug)]
enum Step {
    Data(usize),
    Push(usize),
    /// Data again that was sent.
    Again(usize),
    Acknowledgement,
    Fin,
    Fragment,
    Broken,
    Udp(usize),
    UdpUnchecked,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => prop::sample::select(vec![100usize, 100, 100, 60, 1]).prop_map(Step::Data),
        2 => prop::sample::select(vec![100usize, 40]).prop_map(Step::Push),
        1 => Just(Step::Again(100)),
        1 => Just(Step::Acknowledgement),
        1 => Just(Step::Fin),
        1 => Just(Step::Fragment),
        1 => Just(Step::Broken),
        6 => prop::sample::select(vec![50usize, 50, 50, 20, 0]).prop_map(Step::Udp),
        1 => Just(Step::UdpUnchecked),
    ]
}

/// The packets of all flows, each with its flow.
fn packets(steps: &[(bool, u16, Step)]) -> Vec<(u16, Vec<u8>)> {
    let mut sequences = [0xffff_ff00u32; 8];
    steps
        .iter()
        .enumerate()
        .map(|(index, (v6, flow, step))| {
            let sequence = &mut sequences[usize::from(*flow)];
            let fill = |length: usize| vec![index as u8; length];
            let mut tcp = Tcp::new(*v6, &[]);
            (tcp.port, tcp.sequence, tcp.id) = (*flow, *sequence, index as u16);
            match step {
                Step::Data(length) => tcp.payload = fill(*length),
                Step::Push(length) => {
                    tcp.payload = fill(*length);
                    tcp.flags = ACK | PSH;
                }
                Step::Again(length) => {
                    tcp.payload = fill(*length);
                    tcp.sequence = sequence.wrapping_sub(*length as u32);
                }
                Step::Acknowledgement => {}
                Step::Fin => tcp.flags = ACK | FIN,
                Step::Fragment => {
                    tcp.payload = fill(100);
                    let mut packet = tcp.packet();
                    if !v6 {
                        packet[6] = 0x20;
                    }
                    return (*flow, packet);
                }
                Step::Broken => {
                    tcp.payload = fill(100);
                    let mut packet = tcp.packet();
                    if let Some(last) = packet.last_mut() {
                        *last ^= 1;
                    }
                    return (*flow, packet);
                }
                Step::Udp(length) => {
                    return (*flow + 8, udp(*v6, *flow, index as u16, &fill(*length)));
                }
                Step::UdpUnchecked => {
                    let mut packet = udp(*v6, *flow, index as u16, &fill(50));
                    let at = if *v6 { 46 } else { 26 };
                    packet[at..at + 2].fill(0);
                    return (*flow + 8, packet);
                }
            }
            if !matches!(step, Step::Again(_)) {
                *sequence = sequence.wrapping_add(tcp.payload.len() as u32);
            }
            (*flow, tcp.packet())
        })
        .collect()
}

/// With the ids and header checksums of packets that are never fragmented left out: they may change.
fn comparable(packet: &[u8]) -> Vec<u8> {
    let mut packet = packet.to_vec();
    if packet[0] >> 4 == 4 && packet[6] & 0x40 != 0 {
        packet[4..6].fill(0);
        packet[10..12].fill(0);
    }
    packet
}

fn flow_of(packet: &[u8]) -> u16 {
    let (start, protocol) = if packet[0] >> 4 == 6 {
        (40, packet[6])
    } else {
        (20, packet[9])
    };
    let port = u16::from_be_bytes([packet[start], packet[start + 1]]);
    // Families are flows of their own.
    port + if protocol == 17 { 8 } else { 0 } + if start == 40 { 100 } else { 0 }
}

proptest! {
    #[test]
    fn put_together_and_cut_again_each_flow_is_what_it_was(
        steps in vec((any::<bool>(), 0..3u16, step()), 1..150),
        again: bool,
    ) {
        let sent: Vec<Vec<u8>> = packets(&steps).into_iter().map(|(_, packet)| packet).collect();
        let mut coalescer = Coalescer::with_capacity(64);
        if again {
            // Nothing is left over from the batch before.
            coalesce(&mut coalescer, &sent);
        }
        let out = coalesce(&mut coalescer, &sent);
        let received = cut(&out);
        prop_assert_eq!(received.len(), sent.len());
        for flow in (0..16).chain(100..116) {
            let of_flow = |packets: &[Vec<u8>]| -> Vec<Vec<u8>> {
                packets.iter().filter(|packet| flow_of(packet) == flow).map(|packet| comparable(packet)).collect()
            };
            prop_assert_eq!(of_flow(&received), of_flow(&sent), "flow {}", flow);
        }
        for (header, packet) in out {
            if header.flags == DATA_VALID {
                assert_true(&packet);
            }
        }
    }

    /// Nothing in a tunnel makes it panic, and nothing gets lost.
    #[test]
    fn nonsense_passes_as_it_is(packets in vec(vec(any::<u8>(), 0..100), 1..20), version in 4..7u8) {
        let mut packets = packets;
        for packet in &mut packets {
            if let Some(first) = packet.first_mut() {
                *first = version << 4 | 5;
            }
        }
        let out = coalesce(&mut Coalescer::new(), &packets);
        prop_assert_eq!(out.len(), packets.len());
    }
}

/// A bulk transfer, as the gateway at the other end cut it.
fn bulk(v6: bool, count: usize, size: usize) -> Vec<Vec<u8>> {
    let data: Vec<u8> = (0..count * size).map(|index| (index / 7) as u8).collect();
    data.chunks(size)
        .enumerate()
        .map(|(index, chunk)| {
            let mut tcp = Tcp::new(v6, chunk);
            tcp.sequence = tcp.sequence.wrapping_add((index * size) as u32);
            tcp.id = tcp.id.wrapping_add(index as u16);
            tcp.packet()
        })
        .collect()
}

#[test]
fn a_bulk_transfer_becomes_super_packets() {
    for v6 in [false, true] {
        let out = coalesce(&mut Coalescer::new(), &bulk(v6, 60, 1338));
        // 48 segments are the most below 64 KiB.
        assert_eq!(out.len(), 2);
        let (header, packet) = &out[0];
        let ip = if v6 { 40 } else { 20 };
        assert_eq!(packet.len(), ip + 32 + 48 * 1338);
        assert_eq!(
            *header,
            VirtioHeader {
                flags: NEEDS_CSUM,
                gso_type: if v6 { gso::TCP_V6 } else { gso::TCP_V4 },
                hdr_len: ip as u16 + 32,
                gso_size: 1338,
                csum_start: ip as u16,
                csum_offset: 16,
            }
        );
        // As the kernel itself would have handed it over.
        let tcp = Tcp::new(v6, &packet[ip + 32..]);
        assert_eq!(tcp.super_packet(1338), (*header, packet.clone()));
    }
}

#[test]
fn small_segments_stop_at_what_the_kernel_takes() {
    let out = coalesce(&mut Coalescer::new(), &bulk(false, 300, 10));
    let lengths: Vec<usize> = out.iter().map(|(_, packet)| packet.len() - 52).collect();
    assert_eq!(lengths, [1280, 1280, 440]);
}

#[test]
fn udp_of_equal_sizes_becomes_one() {
    let mut packets: Vec<Vec<u8>> = (0..10)
        .map(|id| udp(true, 7, id, &[id as u8; 1200]))
        .collect();
    packets.push(udp(true, 7, 10, &[10; 800]));
    packets.push(udp(true, 7, 11, &[11; 800]));
    let out = coalesce(&mut Coalescer::new(), &packets);
    assert_eq!(out.len(), 2);
    assert_eq!(out[0].0.gso_type, gso::UDP_L4);
    assert_eq!(out[0].1.len(), 48 + 10 * 1200 + 800);
    assert_eq!(cut(&out), packets);
    assert_eq!(
        out[1].0,
        VirtioHeader {
            flags: DATA_VALID,
            ..VirtioHeader::default()
        }
    );
}

#[test]
fn a_wrong_checksum_is_not_made_right() {
    let mut packets = bulk(false, 3, 100);
    packets[1][60] ^= 4;
    let out = coalesce(&mut Coalescer::new(), &packets);
    assert_eq!(out.len(), 3);
    assert_eq!(out[1], (VirtioHeader::default(), packets[1].clone()));
    // Nor that of an IPv4 header, which would be written anew.
    let mut packets = bulk(false, 3, 100);
    packets[0][8] ^= 4;
    let out = coalesce(&mut Coalescer::new(), &packets);
    assert_eq!(out[0], (VirtioHeader::default(), packets[0].clone()));
    assert_eq!(out.len(), 2);
}

#[test]
fn what_differs_in_a_header_is_not_put_together() {
    // Each byte of both headers but for lengths, checksums and ids counts.
    for v6 in [false, true] {
        let packets = bulk(v6, 2, 100);
        let headers = packets[0].len() - 100;
        let mut joined = Vec::new();
        for at in 0..headers {
            let mut second = packets[1].clone();
            second[at] ^= 0x10;
            repair(&mut second, v6);
            let out = coalesce(&mut Coalescer::new(), &[packets[0].clone(), second]);
            if out.len() == 1 {
                joined.push(at);
            }
        }
        // The checksums were repaired; an id is of no account when nothing may be fragmented.
        let expected: &[usize] = if v6 {
            &[56, 57]
        } else {
            &[4, 5, 10, 11, 36, 37]
        };
        assert_eq!(joined, expected);
    }
}

/// True checksums for whatever is in the headers.
fn repair(packet: &mut [u8], v6: bool) {
    use super::build::naive_sum;
    let start = if v6 { 40 } else { 20 };
    if !v6 {
        packet[10..12].fill(0);
        let checksum = !naive_sum(&packet[..20]);
        packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    }
    packet[start + 16..start + 18].fill(0);
    let addresses = if v6 { 8..40 } else { 12..20 };
    let mut summed = packet[addresses].to_vec();
    summed.extend((packet.len() as u32 - start as u32).to_be_bytes());
    summed.extend([0, 0, 0, 6]);
    summed.extend(&packet[start..]);
    let checksum = !naive_sum(&summed);
    packet[start + 16..start + 18].copy_from_slice(&checksum.to_be_bytes());
}
