//! What ESP costs beside its AEAD on one core, and what is done to the inner packets around it:
//! `cargo bench -p vnet-gw-core --bench esp`. Ends with a line for each ratio of throughputs, ESP
//! over bare AEAD, where more than 0.6 is asked for.

use std::{
    fs,
    hint::black_box,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};
use vnet_gw_core::{
    crypto::{Aead, AeadAlgorithm, AeadKey},
    esp::{InboundSa, OutboundSa},
    packet::{Coalescer, Segments, VirtioHeader, checksum, virtio::gso},
    sa::{ChildSa, Encapsulation, EspSuite, Sa, Spi, TrafficSelector, TunnelId},
    secret::Secret,
};

/// Packets in a row, as a worker does them.
const BATCH: usize = 64;
const OUTPUT: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/criterion");

struct Suite {
    name: &'static str,
    esp: EspSuite,
    aead: AeadAlgorithm,
}

const SUITES: [Suite; 2] = [
    Suite {
        name: "aes-256-gcm",
        esp: EspSuite::Aes256Gcm,
        aead: AeadAlgorithm::Aes256Gcm,
    },
    Suite {
        name: "chacha20-poly1305",
        esp: EspSuite::ChaCha20Poly1305,
        aead: AeadAlgorithm::ChaCha20Poly1305,
    },
];

/// Bytes of the inner packet.
const SIZES: [usize; 2] = [64, 1400];

fn child(suite: EspSuite) -> ChildSa {
    let sa = Sa {
        spi: Spi(0x1234_5678),
        suite,
        esn: true,
        keys: Secret::new([7; 36]),
    };
    let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 4500);
    let selectors: Vec<TrafficSelector> = ["10.1.0.0/16", "10.4.0.0/16"]
        .iter()
        .filter_map(|prefix| prefix.parse().ok().map(TrafficSelector::prefix))
        .collect();
    ChildSa {
        tunnel: TunnelId(1),
        inbound: sa.clone(),
        outbound: sa,
        encapsulation: Encapsulation::Udp {
            local: address,
            remote: address,
        },
        local_selectors: selectors.clone(),
        remote_selectors: selectors,
        send_at_once: true,
        soft_bytes: None,
        hard_bytes: None,
    }
}

/// A TCP packet with data, checksums left out.
fn inner(length: usize) -> Vec<u8> {
    let mut packet = vec![0x5a; length];
    packet[..20].copy_from_slice(&[
        0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 6, 0, 0, 10, 1, 0, 4, 10, 4, 0, 4,
    ]);
    packet[2..4].copy_from_slice(&(length as u16).to_be_bytes());
    packet
}

fn seal(criterion: &mut Criterion) {
    for suite in &SUITES {
        let mut group = criterion.benchmark_group(format!("{}-seal", suite.name));
        for size in SIZES {
            group.throughput(Throughput::Bytes((size * BATCH) as u64));
            let key = AeadKey::new(suite.aead, &[7; 32]).expect("a key of its length");
            let mut buffer = vec![0u8; (size + 16) * BATCH];
            let mut count = 0u64;
            group.bench_function(BenchmarkId::new("aead", size), |bencher| {
                bencher.iter(|| {
                    for slot in buffer.chunks_exact_mut(size + 16) {
                        count += 1;
                        let mut nonce = [0; 12];
                        nonce[4..].copy_from_slice(&count.to_be_bytes());
                        if let Some((data, tag)) = slot.split_last_chunk_mut() {
                            key.seal_in_place(&nonce, &[0; 12], data, tag)
                                .expect("short data");
                        }
                    }
                });
            });

            let mut sa = OutboundSa::new(&child(suite.esp)).expect("keys of their length");
            let (at, sealed, inner) = (sa.payload_offset(), sa.sealed_len(size), inner(size));
            let mut buffer = vec![0u8; sealed * BATCH];
            group.bench_function(BenchmarkId::new("esp", size), |bencher| {
                bencher.iter(|| {
                    for slot in buffer.chunks_exact_mut(sealed) {
                        // What was sealed before lies there; only its version is looked at.
                        slot[at] = inner[0];
                        sa.seal(slot, size).expect("room and numbers");
                    }
                });
            });
        }
    }
}

fn open(criterion: &mut Criterion) {
    for suite in &SUITES {
        let mut group = criterion.benchmark_group(format!("{}-open", suite.name));
        for size in SIZES {
            group.throughput(Throughput::Bytes((size * BATCH) as u64));
            let key = AeadKey::new(suite.aead, &[7; 32]).expect("a key of its length");
            let mut sealed = vec![0u8; (size + 16) * BATCH];
            for slot in sealed.chunks_exact_mut(size + 16) {
                if let Some((data, tag)) = slot.split_last_chunk_mut() {
                    key.seal_in_place(&[0; 12], &[0; 12], data, tag)
                        .expect("short data");
                }
            }
            group.bench_function(BenchmarkId::new("aead", size), |bencher| {
                bencher.iter_batched_ref(
                    || sealed.clone(),
                    |buffer| {
                        for slot in buffer.chunks_exact_mut(size + 16) {
                            if let Some((data, tag)) = slot.split_last_chunk_mut() {
                                key.open_in_place(&[0; 12], &[0; 12], data, tag)
                                    .expect("a true packet");
                            }
                        }
                    },
                    BatchSize::PerIteration,
                );
            });

            let child = child(suite.esp);
            let mut outbound = OutboundSa::new(&child).expect("keys of their length");
            let mut inbound = InboundSa::new(&child).expect("keys of their length");
            let (at, sealed, inner) = (
                outbound.payload_offset(),
                outbound.sealed_len(size),
                inner(size),
            );
            group.bench_function(BenchmarkId::new("esp", size), |bencher| {
                bencher.iter_batched_ref(
                    || {
                        let mut buffer = vec![0u8; sealed * BATCH];
                        for slot in buffer.chunks_exact_mut(sealed) {
                            slot[at..at + size].copy_from_slice(&inner);
                            outbound.seal(slot, size).expect("room and numbers");
                        }
                        buffer
                    },
                    |buffer| {
                        for slot in buffer.chunks_exact_mut(sealed) {
                            black_box(inbound.open(slot).expect("a true packet"));
                        }
                    },
                    BatchSize::PerIteration,
                );
            });
        }
    }
}

/// A super-packet of 48 segments cut into the slots of a send buffer, and put together again.
fn packets(criterion: &mut Criterion) {
    const SEGMENT: usize = 1348;
    let mut group = criterion.benchmark_group("packet");
    let bytes = inner(1400);
    group.throughput(Throughput::Bytes(1400));
    group.bench_function("checksum", |bencher| {
        bencher.iter(|| checksum::sum(black_box(&bytes)));
    });

    let mut packet = inner(40 + 48 * SEGMENT);
    packet[32..34].copy_from_slice(&[0x50, 0x10]);
    let header = VirtioHeader {
        flags: 1,
        gso_type: gso::TCP_V4,
        hdr_len: 40,
        gso_size: SEGMENT as u16,
        csum_start: 20,
        csum_offset: 16,
    };
    let slot = 40 + SEGMENT + 48;
    let mut buffer = vec![0u8; slot * 48];
    let cut = |buffer: &mut [u8]| {
        let segments = Segments::new(&header, &packet).expect("a super-packet");
        for (index, slot) in buffer.chunks_exact_mut(slot).enumerate() {
            segments.write(index, &mut slot[16..]).expect("room");
        }
    };
    group.throughput(Throughput::Bytes(packet.len() as u64));
    group.bench_function("segment", |bencher| bencher.iter(|| cut(&mut buffer)));

    cut(&mut buffer);
    let mut coalescer = Coalescer::with_capacity(BATCH);
    let segments = buffer.clone();
    group.bench_function("coalesce", |bencher| {
        bencher.iter_batched_ref(
            || segments.clone(),
            |arena| {
                for start in (16..arena.len()).step_by(slot) {
                    coalescer.push(arena, start..start + 40 + SEGMENT);
                }
                let mut count = 0;
                coalescer.finish(arena, |_, header, parts| {
                    count += 1;
                    black_box((header, parts));
                });
                assert_eq!(count, 1);
            },
            BatchSize::PerIteration,
        );
    });
}

/// Nanoseconds of one batch, as criterion wrote them down; nothing was measured under `--test`.
fn median(group: &str, function: &str, size: usize) -> Option<f64> {
    let file: PathBuf = [
        OUTPUT,
        group,
        function,
        &size.to_string(),
        "new",
        "estimates.json",
    ]
    .iter()
    .collect();
    let estimates: serde_json::Value = serde_json::from_slice(&fs::read(file).ok()?).ok()?;
    estimates.get("median")?.get("point_estimate")?.as_f64()
}

fn main() {
    let mut criterion = Criterion::default()
        .output_directory(Path::new(OUTPUT))
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    seal(&mut criterion);
    open(&mut criterion);
    packets(&mut criterion);
    criterion.final_summary();
    for suite in &SUITES {
        for way in ["seal", "open"] {
            let group = format!("{}-{way}", suite.name);
            for size in SIZES {
                let measured = median(&group, "aead", size).zip(median(&group, "esp", size));
                if let Some((aead, esp)) = measured {
                    let (name, batch) = (suite.name, BATCH as f64);
                    println!(
                        "esp_{way}_over_aead {name} {size} B: {:.3} (bare {:.1} ns, ESP {:.1} ns)",
                        aead / esp,
                        aead / batch,
                        esp / batch,
                    );
                }
            }
        }
    }
}
