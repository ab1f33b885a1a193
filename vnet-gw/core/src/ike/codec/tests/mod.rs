//! What the codec promises: what it writes it reads, whatever it reads it survives.

mod arbitrary;
mod framing;
mod offers;
mod protected;
mod roundtrip;

use super::*;

fn header(exchange: ExchangeType) -> Header {
    Header {
        initiator_spi: 0xc0c1_c2c3_c4c5_c6c7,
        responder_spi: 0xd0d1_d2d3_d4d5_d6d7,
        exchange,
        from_initiator: true,
        response: false,
        message_id: 9,
    }
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap())
        .collect()
}

/// Counts up: the same bytes in every run, and never the same twice.
struct Counter(u8);

impl crate::ike::Random for Counter {
    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            self.0 = self.0.wrapping_add(1);
            *byte = self.0;
        }
    }
}
