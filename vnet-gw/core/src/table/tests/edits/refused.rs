//! Edits that find no room, their order, and damage.

use super::*;

#[test]
fn an_edit_that_outgrows_the_table_changes_nothing() {
    let mut numbers = Numbered::default();
    let desired = base_routes();
    let mut entries = numbers.entries(&desired);
    let Directory {
        mut blocks,
        mut editor,
    } = directory::build(&entries, numbers.actions.table(), 64, 1);
    let before = blocks.clone();
    let all = [net4("0.0.0.0/0")];
    let too_many = some_actions(256);
    let error = editor
        .apply(&mut blocks[..], &entries, &too_many, &all)
        .unwrap_err();
    assert!(
        matches!(
            error,
            EditError::TooLarge {
                what: "action number",
                ..
            }
        ),
        "{error}"
    );
    entries[1].route = 64;
    let error = editor
        .apply(&mut blocks[..], &entries, numbers.actions.table(), &all)
        .unwrap_err();
    assert!(
        matches!(
            error,
            EditError::TooLarge {
                what: "route number",
                ..
            }
        ),
        "{error}"
    );
    entries[1].route = 2;
    entries[1].action = 9;
    let error = editor
        .apply(&mut blocks[..], &entries, numbers.actions.table(), &all)
        .unwrap_err();
    assert!(matches!(error, EditError::Routes(_)), "{error}");
    assert!(blocks == before);
}

#[test]
fn actions_come_before_the_leaves_that_have_them() {
    let mut numbers = Numbered::default();
    let mut desired = base_routes();
    let entries = numbers.entries(&desired);
    let Directory { blocks, mut editor } =
        directory::build(&entries, numbers.actions.table(), 64, 1);
    let mut live = Watched::new(blocks);
    for n in 3..60 {
        desired.insert(net4("10.1.0.0/16"), action(n));
        let entries = numbers.entries(&desired);
        let actions = numbers.actions.table();
        // Two numbers in turn: the one that the step before freed is taken.
        assert!(actions.len() <= 4, "{n}: {}", actions.len());
        live.begin(&[0, 0x0a01_0000, 0x0a01_ffff], |addr| {
            let leaf = naive(&entries, addr);
            (leaf, actions[Leaf(leaf).action() as usize])
        });
        let edited = editor
            .apply(&mut live, &entries, actions, &[net4("10.1.0.0/16")])
            .unwrap();
        assert_eq!((edited.slots, edited.actions), (1, 1));
        assert_eq!(live.find(0x0a01_0203).1, action(n));
    }
}

#[test]
fn damage_is_found_by_adopt_verify_and_apply() {
    let mut numbers = Numbered::default();
    let desired: BTreeMap<_, _> = base_routes().into_iter().chain(scattered(9)).collect();
    let entries = numbers.entries(&desired);
    let actions = numbers.actions.table();
    let Directory { blocks, editor } = directory::build(&entries, actions, 512, 1);
    let root_at = header_word(&blocks[0], Header::ROOT_AT);
    let (root, slot) = (root_at + 10, 9usize);
    let child = blocks[root as usize].0[slot];
    let node = (child & !Leaf::CHILD) as usize;
    let chunk = blocks[node].0[0];
    let deeper = |blocks: &[Block], chunk: u32, at: usize| {
        let chunk = (chunk & !Leaf::CHILD) as usize;
        blocks[chunk / 16].0[chunk % 16 * 16 + at]
    };
    let last = deeper(&blocks, chunk, 1);
    assert!(
        chunk & last & Leaf::CHILD != 0,
        "the test's picture of the table is right"
    );

    type Damage<'a> = &'a dyn Fn(&mut [Block]);
    let past = Leaf::CHILD | blocks.len() as u32;
    let last_at = (last & !Leaf::CHILD) as usize;
    // What is done to the table; what adopting it says; what an edit there says.
    let cases: [(Damage<'_>, AdoptError, bool); 6] = [
        (
            &|blocks| blocks[root as usize].0[slot] = past,
            AdoptError::OutOfRange {
                block: root,
                slot: slot as u32,
                child: past & !Leaf::CHILD,
            },
            true,
        ),
        (
            &|blocks| blocks[root as usize].0[slot] = Leaf::CHILD,
            AdoptError::OutOfRange {
                block: root,
                slot: slot as u32,
                child: 0,
            },
            true,
        ),
        (
            &|blocks| blocks[root as usize].0[slot + 1] = child,
            AdoptError::UsedTwice {
                block: root,
                slot: slot as u32 + 1,
                child: node as u32,
            },
            false,
        ),
        (
            &|blocks| blocks[node].0[1] = chunk,
            AdoptError::UsedTwice {
                block: node as u32,
                slot: 1,
                child: (chunk & !Leaf::CHILD) / 16,
            },
            false,
        ),
        (
            &|blocks| blocks[last_at / 16].0[last_at % 16 * 16 + 5] = chunk,
            AdoptError::TooDeep {
                block: last_at as u32 / 16,
                slot: (last_at % 16 * 16 + 5) as u32,
            },
            true,
        ),
        (
            &|blocks| blocks[0].0[Header::ROOT_AT] = u32::MAX,
            AdoptError::Header {
                word: Header::ROOT_AT,
                value: u32::MAX,
            },
            false,
        ),
    ];
    for (damage, error, breaks_edit) in cases {
        let mut damaged = blocks.clone();
        damage(&mut damaged);
        assert_eq!(DirectoryEditor::adopt(&damaged[..]).unwrap_err(), error);
        let drift = verify_directory(&damaged[..], &entries, actions, 512).unwrap();
        assert!(drift.total() > 0, "{error}");
        let mut editor = editor.clone();
        let result = editor.apply(&mut damaged[..], &entries, actions, &[net4("10.9.0.0/16")]);
        assert_eq!(result.is_err(), breaks_edit, "{error}: {result:?}");
    }
    assert!(DirectoryEditor::adopt(&[][..]).is_err());
    assert!(DirectoryEditor::adopt(&blocks[..20]).is_err());
    let small = build4(&[], &some_actions(0), 64, 1).unwrap();
    assert!(matches!(small, Table4::Small(_)));
    assert!(DirectoryEditor::adopt(&blocks[..]).is_ok());
}
