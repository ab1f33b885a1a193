use super::build::{child, pair, seal, seal_odd, udp};
use crate::{
    esp::{OpenError, SealError},
    sa::EspSuite,
};

#[test]
fn bytes_run_out_after_a_warning() {
    let mut child = child(EspSuite::ChaCha20Poly1305, true);
    (child.soft_bytes, child.hard_bytes) = (Some(300), Some(500));
    let (mut outbound, mut inbound) = pair(&child);
    let inner = udp(false, &[1; 72]);
    assert_eq!(inner.len(), 100);
    for count in 1..=5 {
        let mut packet = seal(&mut outbound, &inner);
        // The peer counts what came out, so it still takes what we may send.
        let opened = inbound.open(&mut packet);
        assert_eq!(opened.is_ok(), count < 5, "{count}: {opened:?}");
        assert_eq!(outbound.wants_rekey(), count >= 3);
    }
    assert!(outbound.exhausted());
    assert!(inbound.wants_rekey());
    let mut slot = vec![0x45; 200];
    assert_eq!(outbound.seal(&mut slot, 100), Err(SealError::Exhausted));
    assert_eq!(outbound.seal(&mut slot, 1), Err(SealError::Exhausted));
    assert_eq!(outbound.packets(), 5);
    let mut packet = seal_odd(&child, 9, 4, &inner);
    assert_eq!(inbound.open(&mut packet), Err(OpenError::Expired));
}

#[test]
fn sequence_numbers_run_out_and_do_not_cycle() {
    for (esn, soft, last) in [
        (false, 3 << 30, u64::from(u32::MAX)),
        (true, 3 << 62, u64::MAX),
    ] {
        let (mut outbound, mut inbound) = pair(&child(EspSuite::Aes256Gcm, esn));
        let inner = udp(false, b"x");
        outbound.skip_to(soft - 2);
        inbound.skip_to(soft - 2);
        for wants in [false, true] {
            let mut packet = seal(&mut outbound, &inner);
            assert!(inbound.open(&mut packet).is_ok());
            assert_eq!(
                (outbound.wants_rekey(), inbound.wants_rekey()),
                (wants, wants)
            );
        }
        outbound.skip_to(last - 1);
        inbound.skip_to(last - 1);
        let mut packet = seal(&mut outbound, &inner);
        assert!(inbound.open(&mut packet).is_ok());
        assert!(outbound.exhausted());
        let mut slot = vec![0x45; 200];
        for _ in 0..3 {
            assert_eq!(outbound.seal(&mut slot, 29), Err(SealError::Exhausted));
        }
        assert!(
            slot.iter().all(|byte| *byte == 0x45),
            "refused before anything is written"
        );
    }
}
