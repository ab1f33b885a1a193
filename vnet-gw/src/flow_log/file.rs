//! The log's file: lines, and a new one once it is full.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// Where flows are logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowLogOptions {
    pub path: PathBuf,
    /// A file with so many bytes is put aside.
    pub size: u64,
    /// How many are kept beside the one that is written, as `FILE.1` (the newest) and so on.
    pub keep: u32,
}

/// The file that is written.
#[derive(Debug)]
pub struct FlowLogFile {
    options: FlowLogOptions,
    file: File,
    written: u64,
}

impl FlowLogFile {
    /// Goes on at the end of a file that is there. It is for root and its group: whoever talks to
    /// whom is nobody else's business.
    ///
    /// # Errors
    /// Where it cannot be opened for writing.
    pub fn open(options: FlowLogOptions) -> io::Result<Self> {
        let (file, written) = open(&options.path)?;
        Ok(Self {
            options,
            file,
            written,
        })
    }

    pub fn path(&self) -> &Path {
        &self.options.path
    }

    /// Writes lines, each as a whole.
    pub(super) fn write(&mut self, lines: &[String]) -> io::Result<()> {
        for line in lines {
            if self.written > 0 && self.written + line.len() as u64 >= self.options.size {
                self.rotate()?;
            }
            let line = format!("{line}\n");
            self.file.write_all(line.as_bytes())?;
            self.written += line.len() as u64;
        }
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        for number in (1..self.options.keep).rev() {
            move_over(&self.aside(number), &self.aside(number + 1))?;
        }
        if self.options.keep > 0 {
            move_over(&self.options.path, &self.aside(1))?;
        } else {
            fs::remove_file(&self.options.path)?;
        }
        (self.file, self.written) = open(&self.options.path)?;
        Ok(())
    }

    fn aside(&self, number: u32) -> PathBuf {
        let mut name = OsString::from(&self.options.path);
        name.push(format!(".{number}"));
        name.into()
    }
}

fn open(path: &Path) -> io::Result<(File, u64)> {
    let mut options = OpenOptions::new();
    let file = options.create(true).append(true).mode(0o640).open(path)?;
    let written = file.metadata()?.len();
    Ok((file, written))
}

fn move_over(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_file_is_put_aside_and_the_oldest_goes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("flows.json");
        let options = FlowLogOptions {
            path: path.clone(),
            size: 20,
            keep: 2,
        };
        let mut log = FlowLogFile::open(options.clone()).unwrap();
        for number in 0..7 {
            log.write(&[format!("line {number}"), "x".to_owned()])
                .unwrap();
        }
        drop(log);
        let read = |name: &str| fs::read_to_string(directory.path().join(name)).unwrap();
        assert_eq!(read("flows.json"), "line 6\nx\n");
        assert_eq!(read("flows.json.1"), "line 4\nx\nline 5\nx\n");
        assert_eq!(read("flows.json.2"), "line 2\nx\nline 3\nx\n");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 3);

        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode & 0o137, 0, "{mode:o}");

        // A daemon that starts again goes on where the file ends.
        let mut log = FlowLogFile::open(options).unwrap();
        log.write(&["more".to_owned()]).unwrap();
        assert_eq!(read("flows.json"), "line 6\nx\nmore\n");
    }
}
