//! Hashes: `uniqueString()`, `guid()`, `newGuid()`.

use serde_json::{Value, json};
use uuid::{Builder, Uuid};

use super::{Args, Result, count, plain};
use crate::model::template::evaluate::{Evaluator, invalid};

/// The namespace of `guid()`, a name-based UUID of version 5.
const NAMESPACE: Uuid = Uuid::from_u128(0x11fb06fb_712d_4ddd_98c7_e71bbd588830);

/// Thirteen characters that follow from the texts alone, the same as Azure's.
pub(super) fn unique_string(args: &Args<'_, '_>) -> Result<Value> {
    const CHARACTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let mut hash = murmur_hash64(hyphenated(args)?.as_bytes());
    let mut out = String::with_capacity(13);
    for _ in 0..13 {
        // Five bits at a time, from the top; the last character has four.
        out.push(char::from(CHARACTERS[(hash >> 59) as usize]));
        hash <<= 5;
    }
    Ok(json!(out))
}

/// A UUID that follows from the texts alone.
pub(super) fn guid(args: &Args<'_, '_>) -> Result<Value> {
    let name = hyphenated(args)?;
    Ok(json!(Uuid::new_v5(&NAMESPACE, name.as_bytes()).to_string()))
}

/// A UUID of the deployment's randomness, another one each time.
pub(super) fn new_guid(evaluator: &Evaluator<'_>) -> Result<Value> {
    let Some(random) = evaluator.options.random else {
        return Err(invalid(
            "newGuid() has no value where nothing is deployed: give the parameter one.",
        ));
    };
    let name = evaluator.next_guid().to_be_bytes();
    let made = Uuid::new_v5(&Uuid::from_bytes(random), &name);
    let random = Builder::from_random_bytes(*made.as_bytes()).into_uuid();
    Ok(json!(random.to_string()))
}

fn hyphenated(args: &Args<'_, '_>) -> Result<String> {
    let mut texts = Vec::new();
    for value in args.values {
        match value.as_ref() {
            Value::Array(_) | Value::Object(_) => return Err(args.wrong("a string", value)),
            value => texts.push(plain(value)),
        }
    }
    match texts.is_empty() {
        true => Err(count(args.name, "1 or more")),
        false => Ok(texts.join("-")),
    }
}

/// Two lanes of MurmurHash3 (those of `x86_128`, with the rotations and the end of ARM's own
/// variant). ARM's template hashes are of it, too.
pub(crate) fn murmur_hash64(data: &[u8]) -> u64 {
    const C1: u32 = 0x239b_961b;
    const C2: u32 = 0xab0e_9789;
    let lane1 = |word: u32| word.wrapping_mul(C1).rotate_left(15).wrapping_mul(C2);
    let lane2 = |word: u32| word.wrapping_mul(C2).rotate_left(17).wrapping_mul(C1);
    // Little-endian; what is missing is zero.
    let word = |bytes: &[u8]| {
        let mut word = [0; 4];
        word.iter_mut()
            .zip(bytes)
            .for_each(|(to, from)| *to = *from);
        u32::from_le_bytes(word)
    };
    let (mut h1, mut h2) = (0_u32, 0_u32);
    let mut blocks = data.chunks_exact(8);
    for block in &mut blocks {
        h1 = (h1 ^ lane1(word(&block[..4]))).rotate_left(19);
        h1 = h1
            .wrapping_add(h2)
            .wrapping_mul(5)
            .wrapping_add(0x561c_cd1b);
        h2 = (h2 ^ lane2(word(&block[4..]))).rotate_left(13);
        h2 = h2
            .wrapping_add(h1)
            .wrapping_mul(5)
            .wrapping_add(0x0bca_a747);
    }
    let tail = blocks.remainder();
    if !tail.is_empty() {
        h1 ^= lane1(word(tail));
    }
    if tail.len() > 4 {
        h2 ^= lane2(word(&tail[4..]));
    }
    let length = data.len() as u32;
    let mix = |hash: u32| {
        let hash = (hash ^ (hash >> 16)).wrapping_mul(0x85eb_ca6b);
        let hash = (hash ^ (hash >> 13)).wrapping_mul(0xc2b2_ae35);
        hash ^ (hash >> 16)
    };
    h1 = (h1 ^ length).wrapping_add(h2 ^ length);
    h2 = (h2 ^ length).wrapping_add(h1);
    (h1, h2) = (mix(h1), mix(h2));
    h1 = h1.wrapping_add(h2);
    h2 = h2.wrapping_add(h1);
    u64::from(h2) << 32 | u64::from(h1)
}
