//! The state machine of IKE: two honest endpoints, and an attacker between them who sees every
//! message, holds it back, sends it again, changes it, and makes up others.
//!
//! What he must not achieve: a panic; that a message which is not the peer's makes, ends or moves
//! a CHILD SA; and that the two, once he is gone, do not agree any more. Ephemeral keys are the
//! library's own, so two runs of one input differ in bytes, not in what happens.

mod honest;

use std::time::Duration;

use vnet_gw_core::ike::Transmit;

use self::honest::{Honest, World};
use crate::input::Input;

/// How a run begins, then a script of what the attacker does.
pub fn ike_endpoint(data: &[u8]) {
    let mut input = Input::new(data);
    let mut world = World::new(input.u8());
    let mut seen: Vec<Transmit> = Vec::new();
    if input.u8() & 1 == 1 {
        world.settle(Duration::from_secs(20), &mut seen);
        assert!(world.agreed(), "two honest peers agree: {}", world.tell());
    }
    let mut steps = 0;
    while !input.is_empty() && steps < 60 {
        steps += 1;
        step(&mut input, &mut world, &mut seen);
        seen.truncate(200);
    }
    // He is gone. Peers that were made to give up wait up to a minute before they try again.
    world.settle(Duration::from_secs(300), &mut Vec::new());
    assert!(world.agreed(), "left alone, they agree: {}", world.tell());
}

fn step(input: &mut Input<'_>, world: &mut World, seen: &mut Vec<Transmit>) {
    let which = input.u8();
    match which % 9 {
        // Time passes; nothing arrives.
        0 => {
            let time = Duration::from_millis(u64::from(input.u8()) * 100);
            world.advance(time);
        }
        // What is on its way arrives, in order or not.
        1 | 2 => {
            let index = usize::from(input.u8());
            world.deliver(index, seen);
        }
        3 => world.lose(input.u8().into()),
        // Something that was sent before, from where it came or from elsewhere.
        4 => {
            let index = usize::from(input.u8()) % seen.len().max(1);
            let Some(mut message) = seen.get(index).cloned() else {
                return;
            };
            let moved = input.u8();
            if moved & 1 == 1 {
                message
                    .local
                    .set_port(message.local.port() ^ u16::from(moved));
            }
            world.forge(&message);
        }
        // The same with some bytes changed, before or after the true one arrives.
        5 | 6 => {
            let index = usize::from(input.u8());
            let count = seen.len() + world.on_their_way().len();
            let all = || seen.iter().chain(world.on_their_way());
            let Some(mut message) = all().nth(index % count.max(1)).cloned() else {
                return;
            };
            let before = message.data.clone();
            for _ in 0..=input.u8() % 4 {
                let at = usize::from(input.u16()) % message.data.len().max(1);
                let Some(byte) = message.data.get_mut(at) else {
                    continue;
                };
                *byte ^= input.u8();
            }
            let cut = usize::from(input.u8() % 64);
            if which % 9 == 6 {
                message
                    .data
                    .truncate(message.data.len().saturating_sub(cut));
                fix_length(&mut message);
            }
            if message.data != before {
                world.forge(&message);
            }
        }
        // He waits, for as long as it takes until keys are renewed.
        7 => {
            let time = Duration::from_secs(u64::from(input.u8()) * 2);
            world.settle(time, seen);
        }
        // Made up altogether.
        _ => {
            let to = if input.u8() & 1 == 0 {
                Honest::A
            } else {
                Honest::B
            };
            let (remote_port, local_port) = (input.u16(), input.u8() & 1 == 0);
            let data = input.chunk().to_vec();
            world.forge(&world.made_up(to, remote_port, local_port, data));
        }
    }
}

/// The length in the header is what is checked first: with it right, more is tried.
fn fix_length(message: &mut Transmit) {
    let marker = if message.remote.port() == 4500 { 4 } else { 0 };
    let length = u32::try_from(message.data.len().saturating_sub(marker)).unwrap_or(0);
    if let Some(field) = message.data.get_mut(marker + 24..marker + 28) {
        field.copy_from_slice(&length.to_be_bytes());
    }
}
