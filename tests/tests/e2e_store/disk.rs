//! A disk that is full.

use std::{fs, sync::Arc};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use vnet_gw::{
    engine::{EngineError, EngineOptions, Writer},
    store::FileStore,
};
use vnet_gw_lab::Lab;
use vnet_gw_tests::killed::{check, group, submission};

#[test]
fn a_full_disk_is_told_and_changes_nothing() {
    let lab = Lab::new().unwrap();
    let place = lab.dir().join("small");
    fs::create_dir(&place).unwrap();
    mount(
        Some("small"),
        &place,
        Some("tmpfs"),
        MsFlags::empty(),
        Some("size=8m"),
    )
    .unwrap();
    let store = Arc::new(FileStore::open(&place.join(FileStore::NAME)).unwrap());
    let mut writer = Writer::open(store, EngineOptions::default()).unwrap();
    writer.submit(group().unwrap()).unwrap();
    writer.submit(submission(0, 1).unwrap()).unwrap();

    // All but nothing is taken by somebody else.
    let filler = place.join("filler");
    let mut size = 8 << 20;
    while size > 512 {
        let taken = fs::read(&filler).map_or(0, |bytes| bytes.len());
        match fs::write(&filler, vec![7; taken + size]) {
            Ok(()) => {}
            Err(_) => {
                fs::write(&filler, vec![7; taken]).unwrap();
                size /= 2;
            }
        }
    }
    let before = writer.state();
    let mut number = 1;
    let error = loop {
        number += 1;
        match writer.submit(submission(0, number).unwrap()) {
            Ok(_) => assert!(number < 10_000, "the disk is not full"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, EngineError::Store(_)), "{error}");
    let error = error.to_string();
    assert!(error.contains("make room on its file system"), "{error}");
    let after = writer.state();
    assert!(number > 2 || before.documents == after.documents);
    // Again, and the same is told.
    let again = writer.submit(submission(0, number).unwrap()).unwrap_err();
    assert!(matches!(again, EngineError::Store(_)), "{again}");

    // There is room: it goes on, without a restart.
    fs::remove_file(&filler).unwrap();
    writer.submit(submission(0, number).unwrap()).unwrap();
    drop((writer, before, after));
    let numbers = check(&place, &[(0, number)].into()).unwrap();
    assert_eq!(numbers[0], number);
    umount2(&place, MntFlags::MNT_DETACH).unwrap();
}
