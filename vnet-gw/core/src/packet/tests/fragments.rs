use proptest::{collection::vec, prelude::*};

use super::build::{ip, naive_sum, udp};
use crate::packet::{Fragment, Fragments, Outline};

fn fragment(packet: &[u8], mtu: usize) -> Option<Vec<Vec<u8>>> {
    let fragments = Fragments::new(packet, mtu)?;
    let mut all = Vec::new();
    for index in 0..fragments.len() {
        let mut out = vec![0; mtu];
        let length = fragments
            .write(index, &mut out)
            .expect("no longer than the MTU");
        assert_eq!(fragments.write(index, &mut out[..length - 1]), None);
        out.truncate(length);
        all.push(out);
    }
    assert_eq!(fragments.write(fragments.len(), &mut [0; 2000]), None);
    Some(all)
}

/// What the receiver makes of them: payload by offset, and whether the end is there.
fn reassemble(fragments: &[Vec<u8>]) -> (Vec<u8>, bool) {
    let (mut payload, mut end) = (Vec::new(), false);
    for fragment in fragments {
        let header = usize::from(fragment[0] & 0xf) * 4;
        assert_eq!(naive_sum(&fragment[..header]), 0xffff);
        assert_eq!(
            usize::from(u16::from_be_bytes([fragment[2], fragment[3]])),
            fragment.len()
        );
        let word = u16::from_be_bytes([fragment[6], fragment[7]]);
        assert_eq!(usize::from(word & 0x1fff) * 8, payload.len());
        payload.extend(&fragment[header..]);
        end = word & 0x2000 == 0;
        assert!(end || payload.len().is_multiple_of(8));
    }
    (payload, end)
}

proptest! {
    #[test]
    fn fragments_are_the_packet(data in vec(any::<u8>(), 0..5000), mtu in 68..1500usize, again in 68..700usize) {
        let packet = udp(false, 53, 77, &data);
        let fragments = fragment(&packet, mtu).expect("it may be fragmented");
        prop_assert!(fragments.iter().all(|fragment| fragment.len() <= mtu));
        prop_assert_eq!(reassemble(&fragments), (packet[20..].to_vec(), true));
        if fragments.len() > 1 {
            for (index, fragment) in fragments.iter().enumerate() {
                let expected = if index == 0 { Fragment::First } else { Fragment::Later };
                prop_assert_eq!(Outline::of(fragment).map(|outline| outline.fragment), Some(expected));
            }
        } else {
            prop_assert_eq!(&fragments[0], &packet);
        }
        // Fragments of fragments.
        let finer: Vec<Vec<u8>> = fragments.iter().flat_map(|part| fragment(part, again).expect("it may be")).collect();
        prop_assert_eq!(reassemble(&finer), (packet[20..].to_vec(), true));
    }
}

#[test]
fn options_are_copied_where_they_say_so() {
    // Record route (not copied), no operation, router alert (copied), end.
    let options = [7, 3, 4, 1, 0x94, 4, 0, 0, 0, 0, 0, 0];
    let plain = ip(false, 17, 5, false, vec![9; 100], None);
    let mut packet = plain[..20].to_vec();
    packet[0] = 0x48;
    packet[2..4].copy_from_slice(&132u16.to_be_bytes());
    packet.extend(options);
    packet.extend(&plain[20..]);
    let fragments = fragment(&packet, 92).expect("it may be fragmented");
    assert_eq!(fragments.len(), 2);
    assert_eq!(fragments[0][20..32], options);
    assert_eq!(
        (fragments[1][0], &fragments[1][20..24]),
        (0x46, &[0x94, 4, 0, 0][..])
    );
    assert_eq!(reassemble(&fragments), (vec![9; 100], true));
}

#[test]
fn what_cannot_be_fragmented_is_not() {
    let packet = udp(false, 53, 77, &[0; 3000]);
    assert!(Fragments::new(&packet, 27).is_none());
    assert!(Fragments::new(&packet, 0).is_none());
    assert!(Fragments::new(&packet, 28).is_some());
    assert!(Fragments::new(&udp(true, 53, 77, &[0; 3000]), 1400).is_none());
    assert!(Fragments::new(&packet[..100], 1400).is_none());
    let mut beyond = packet;
    beyond[6..8].copy_from_slice(&0x1fff_u16.to_be_bytes());
    assert!(
        Fragments::new(&beyond, 1400).is_none(),
        "its end is past 64 KiB"
    );
}
