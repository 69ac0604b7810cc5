//! Keys in a file.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use async_trait::async_trait;

use crate::error::Error;
use crate::validate::trusted::remote::fetch::failed;
use crate::validate::trusted::remote::key_fetcher::{JwkSet, KeyFetcher};

/// The [`KeyFetcher`] that reads a file.
#[derive(Debug)]
pub(crate) struct FileFetcher {
    pub(crate) path: PathBuf,
    pub(crate) max_bytes: usize,
}

#[async_trait]
impl KeyFetcher for FileFetcher {
    async fn fetch(&self) -> Result<JwkSet, Error> {
        let read = read_file(&self.path, self.max_bytes).await;
        let problem = "the file of the JWK Set cannot be read";
        Ok(JwkSet::new(read.map_err(|error| failed(problem).with_source(error))?))
    }

    fn name(&self) -> String {
        self.path.display().to_string()
    }
}

/// Reads a file of at most so many bytes, beside the tasks of the runtime.
pub(super) async fn read_file(path: &Path, max_bytes: usize) -> io::Result<Vec<u8>> {
    let path = path.to_owned();
    let read = move || {
        let limit = u64::try_from(max_bytes).unwrap_or(u64::MAX);
        let mut content = Vec::new();
        File::open(path)?.take(limit.saturating_add(1)).read_to_end(&mut content)?;
        if content.len() > max_bytes {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "the file is too long"));
        }
        Ok(content)
    };
    tokio::task::spawn_blocking(read).await.map_err(io::Error::other)?
}
