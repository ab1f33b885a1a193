//! The tree form: a static B-tree over the ends of the intervals, root first, values last.

use ipnet::Ipv6Net;
use vnet_gw_common::table::{Action, BLOCK_WORDS, Block, Header, TREE_KEYS};

use super::{RouteEntry, directory::write_actions, header, intervals::Intervals};

pub(super) fn build(
    routes: &[RouteEntry<Ipv6Net>],
    actions: &[Action],
    stride: u32,
    generation: u32,
) -> Vec<Block> {
    // A route begins and ends at most one interval each.
    let mut ends = Vec::with_capacity(routes.len() * 2 + 1);
    let mut leaves = Vec::with_capacity(routes.len() * 2 + 1);
    for interval in Intervals::new(routes) {
        ends.push(interval.last);
        leaves.push(interval.leaf);
    }
    let intervals = leaves.len();

    // From the leaves up; a node's own key is the end of its last child.
    let mut levels = Vec::new();
    loop {
        let nodes: Vec<Block> = ends.chunks(TREE_KEYS).map(node).collect();
        ends = ends
            .chunks(TREE_KEYS)
            .filter_map(|keys| keys.last().copied())
            .collect();
        levels.push(nodes);
        if ends.len() <= 1 {
            break;
        }
    }

    let mut header = header(Header::FORM_TREE, 6, routes, actions, stride, generation);
    header.0[Header::INTERVALS] = intervals as u32;
    header.0[Header::DEPTH] = levels.len() as u32;
    header.0[Header::ACTIONS_AT] = 1;
    let mut blocks = vec![Block::ZERO];
    write_actions(&mut blocks, actions, actions.len() as u32);
    for (level, nodes) in levels.iter().rev().enumerate() {
        header.0[Header::LEVELS_AT + level] = blocks.len() as u32;
        blocks.extend_from_slice(nodes);
    }
    header.0[Header::VALUES_AT] = blocks.len() as u32;
    let padding = leaves.last().copied().unwrap_or(0);
    for values in leaves.chunks(BLOCK_WORDS) {
        let mut block = Block([padding; BLOCK_WORDS]);
        block.0[..values.len()].copy_from_slice(values);
        blocks.push(block);
    }
    blocks[0].0[..header.0.len()].copy_from_slice(&header.0);
    blocks
}

fn node(keys: &[u128]) -> Block {
    // No address is past the highest, so a search never enters the padding.
    let mut block = Block([u32::MAX; BLOCK_WORDS]);
    for (words, key) in block.0.chunks_exact_mut(4).zip(keys) {
        for (i, word) in words.iter_mut().enumerate() {
            *word = (key >> (96 - 32 * i)) as u32;
        }
    }
    block
}
