//! Second IKE SAs, rekeys, deletes and losses in an order that a seed decides about, and then calm:
//! one IKE SA and one pair remain.

use super::*;

/// Below a number; each draw takes four bytes.
struct Dice(Seeded);

impl Dice {
    fn roll(&mut self, below: u32) -> u32 {
        let mut bytes = [0; 4];
        self.0.fill(&mut bytes);
        u32::from_be_bytes(bytes) % below
    }
}

fn act(net: &mut Net, side: usize, action: u32) {
    let now = net.now;
    let status = net.status(side);
    let child = status
        .iter()
        .flat_map(|sa| &sa.children)
        .map(|child| child.inbound)
        .next();
    let settled = !status.is_empty() && status.iter().all(|sa| sa.established_for.is_some());
    let endpoint = &mut net.sides[side].endpoint;
    match (action, child) {
        (0, _) if settled => endpoint.attempt_now(now, TUNNEL),
        (1, _) => endpoint.rekey_ike_now(now, TUNNEL),
        (2, Some(child)) => endpoint.delete_child_now(now, TUNNEL, child),
        (3, Some(_)) => net.report(side, |report| report.rekey = child),
        (4, _) => net.report(side, |report| report.sent = true),
        _ => {}
    }
    net.flush(side);
}

fn unruly(seed: u64) {
    let mut dice = Dice(Seeded(seed * 7919));
    let mut net = Net::seeded(EndpointOptions::default(), seed);
    let pfs = dice.roll(2) == 0;
    let post_quantum = dice.roll(3) == 0;
    net.configure_both(|_, config| {
        config.mode = ConnectionMode::Default;
        config.lifetimes.ike = seconds(400);
        config.lifetimes.child = seconds(120);
        config.post_quantum = post_quantum;
        config.esp = vec![esp(pfs.then_some(Group::Curve25519))];
    });
    net.run(seconds(5));
    net.assert_agreed();
    let mut losses = Seeded(seed * 31 + 7);
    let percent = dice.roll(30) as u8;
    net.filter = Box::new(move |_, _| {
        let mut byte = [0];
        losses.fill(&mut byte);
        byte[0] % 100 >= percent
    });
    for _ in 0..40 {
        let side = dice.roll(2) as usize;
        let action = dice.roll(6);
        act(&mut net, side, action);
        let wait = [3, 30, 300, 3_000, 20_000][dice.roll(5) as usize];
        net.run(Duration::from_millis(wait));
    }
    net.filter = Box::new(|_, _| true);
    net.run(seconds(300));
    // Perhaps just while one takes the place of another.
    for _ in 0..600 {
        let one = |side: usize| net.status(side).len() == 1 && net.sides[side].pairs.len() == 1;
        if one(A) && one(B) {
            break;
        }
        net.run(Duration::from_millis(100));
    }
    net.assert_agreed();
}

#[test]
fn one_ike_sa_and_one_pair_remain_whatever_happened() {
    // After the first ones those in which more than one remained, once.
    for seed in (1..=100).chain([360, 441, 644, 1_120, 1_814, 2_228, 2_250]) {
        println!("seed {seed}");
        unruly(seed);
    }
}
