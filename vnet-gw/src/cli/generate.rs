//! `vnet-gw completions` and `vnet-gw man`

use std::{fs, path::Path};

use anyhow::{Context, Result};
use clap::CommandFactory;
use clap_mangen::Man;

use super::{
    Verdict,
    args::{Cli, CompletionsArgs, ManArgs},
    output,
};

pub(super) fn completions(args: &CompletionsArgs) -> Result<Verdict> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "vnet-gw", &mut script);
    output::print(&String::from_utf8_lossy(&script))?;
    Ok(Verdict::Good)
}

pub(super) fn man(args: &ManArgs) -> Result<Verdict> {
    match &args.dir {
        None => {
            let mut page = Vec::new();
            Man::new(Cli::command()).render(&mut page)?;
            output::print(&String::from_utf8_lossy(&page))?;
        }
        Some(dir) => {
            fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
            for (name, page) in pages()? {
                write(&dir.join(name), &page)?;
            }
        }
    }
    Ok(Verdict::Good)
}

fn write(path: &Path, page: &[u8]) -> Result<()> {
    fs::write(path, page).with_context(|| format!("writing {}", path.display()))?;
    output::print(&format!("{}\n", path.display()))
}

/// `vnet-gw.1`, and `vnet-gw-COMMAND.1` for each command, `vnet-gw-COMMAND-COMMAND.1` for those below
/// it.
fn pages() -> Result<Vec<(String, Vec<u8>)>> {
    let mut command = Cli::command();
    // Global options reach the commands only when the tree is built.
    command.build();
    let mut pages = Vec::new();
    let mut commands = vec![command];
    while let Some(one) = commands.pop() {
        let below = one.get_subcommands();
        commands.extend(below.filter(|one| one.get_name() != "help").cloned());
        let name = one.get_display_name().unwrap_or(one.get_name()).to_owned();
        let mut page = Vec::new();
        Man::new(one).title(name.clone()).render(&mut page)?;
        pages.push((format!("{name}.1"), page));
    }
    Ok(pages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page() {
        let pages = pages().unwrap();
        for command in Cli::command().get_subcommands() {
            let name = format!("vnet-gw-{}.1", command.get_name());
            let (_, page) = pages.iter().find(|(file, _)| *file == name).unwrap();
            let page = String::from_utf8_lossy(page);
            assert!(
                page.contains(".SH OPTIONS") && page.contains("\\-\\-instance"),
                "{page}"
            );
        }
        assert!(pages.iter().any(|(file, _)| file == "vnet-gw.1"));
        let below = "vnet-gw-connection-shared-key-set.1";
        assert!(pages.iter().any(|(file, _)| file == below));
    }
}
