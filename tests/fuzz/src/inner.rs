//! What is done to inner packets on their way in and out of a tunnel: the bytes of a true peer, or
//! of a virtual machine, and so of anybody.

use vnet_gw_core::packet::{
    Coalescer, Flow, Fragments, Outline, Segments, VirtioHeader, clamp_mss, ecn, finish_checksum,
    too_big,
};

use crate::input::Input;

/// One packet, alone.
pub(crate) fn packet(bytes: &[u8], outer_traffic_class: u8) {
    let mut packet = bytes.to_vec();
    if let Some(outline) = Outline::of(&packet) {
        assert!(outline.total <= packet.len() && outline.transport <= outline.total);
    }
    if let Some(flow) = Flow::of(&packet) {
        let _ = flow.hash();
    }
    let _ = ecn::decapsulate(&mut packet, outer_traffic_class);
    clamp_mss(&mut packet, 1400);
    let mut out = vec![0; 65_535];
    for source in ["192.0.2.1", "2001:db8::1"] {
        let source = source.parse().expect("it is an address");
        if let Some(length) = too_big(&packet, source, 1400, &mut out) {
            let answer = Outline::of(&out[..length]).expect("we wrote a packet");
            assert_eq!(answer.total, length);
        }
    }
    if let Some(fragments) = Fragments::new(&packet, 1400) {
        for index in 0..fragments.len() {
            let length = fragments.write(index, &mut out).expect("there is room");
            assert!(length <= 1400);
        }
        assert_eq!(fragments.write(fragments.len(), &mut out), None);
    }
}

/// A super-packet from the gateway's port.
pub(crate) fn super_packet(input: &mut Input<'_>) {
    let mut header = [0; 10];
    let given = input.take(10);
    header[..given.len()].copy_from_slice(given);
    let header = VirtioHeader::from_bytes(&header);
    let mut packet = input.chunk().to_vec();
    if let Ok(segments) = Segments::new(&header, &packet) {
        let mut out = vec![0; 65_535];
        let mut total = 0;
        for index in 0..segments.len() {
            let length = segments.write(index, &mut out).expect("there is room");
            assert_eq!(length, segments.segment_len(index));
            total += length;
        }
        assert_eq!(total, segments.total_len());
    }
    let _ = finish_checksum(&header, &mut packet);
}

/// A batch of packets from a tunnel: nothing is lost, and what comes out is cut into as many again.
pub(crate) fn batch(input: &mut Input<'_>) {
    let mut arena = Vec::new();
    let mut coalescer = Coalescer::new();
    let mut ranges = Vec::new();
    for _ in 0..input.u8() % 64 {
        let start = arena.len();
        arena.extend_from_slice(input.chunk());
        ranges.push(start..arena.len());
    }
    for range in &ranges {
        coalescer.push(&arena, range.clone());
    }
    let mut parts_in_all = 0;
    coalescer.finish(&mut arena, |arena, header, parts| {
        parts_in_all += parts.len();
        if parts.len() > 1 {
            let whole: Vec<u8> = parts
                .iter()
                .flat_map(|part| arena[part.clone()].to_vec())
                .collect();
            let segments = Segments::new(&header, &whole).expect("we put it together");
            assert_eq!(segments.len(), parts.len());
        }
    });
    assert_eq!(parts_in_all, ranges.len());
}
