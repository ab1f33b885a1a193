//! An engine that writes without end, for a test that kills it: `store-writer DIRECTORY`.
//!
//! Each writer has a VNet, a networkInterface in it and a record, and gives all three the same
//! number, one higher each time; now and then it deletes the two resources. What is durable is told
//! on standard output: `WRITER NUMBER`.

use std::{
    env,
    io::{self, Write as _},
    path::Path,
    sync::Arc,
};

use anyhow::{Context, Result};
use vnet_gw::{
    engine::{EngineOptions, Writer},
    store::FileStore,
};
use vnet_gw_tests::killed::{WRITERS, group, number, submission};

fn main() -> Result<()> {
    let directory = env::args_os().nth(1).context("give a directory")?;
    let store = Arc::new(FileStore::open(
        &Path::new(&directory).join(FileStore::NAME),
    )?);
    let mut writer = Writer::open(Arc::clone(&store) as _, EngineOptions::default())?;
    if writer.state().groups.is_empty() {
        writer.submit(group()?)?;
    }
    let (running, deliveries) = writer.start()?;
    deliveries.carry_all();
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    runtime.block_on(async {
        let tasks = (0..WRITERS).map(|writer| {
            let engine = running.engine.clone();
            let first = number(&*store, writer);
            async move {
                for number in first?.. {
                    engine.submit(submission(writer, number)?).await?;
                    // One write: what is told half is not told.
                    io::stdout().write_all(format!("{writer} {number}\n").as_bytes())?;
                }
                anyhow::Ok(())
            }
        });
        let local = tokio::task::LocalSet::new();
        let tasks: Vec<_> = tasks.map(|task| local.spawn_local(task)).collect();
        local
            .run_until(async {
                for task in tasks {
                    task.await??;
                }
                Ok(())
            })
            .await
    })
}
