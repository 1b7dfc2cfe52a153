//! Where semantic recall joins: what makes vectors of texts, and what finds the nearest of them.
//!
//! Recall merges ranked lists ([`crate::merge`]); a vector index gives one more list. Neither trait is implemented in
//! this crate.

use std::error::Error;

/// Which model made a vector. Vectors of different models do not compare and never share an index.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ModelId {
    /// The model's name and revision, such as `nomic-embed-text-v2-moe`.
    pub name: String,
    /// Length of its vectors.
    pub dimensions: usize,
}

/// Why an embedder or a vector index failed: recall then goes on with keywords.
pub type VectorError = Box<dyn Error + Send + Sync>;

/// Makes vectors of texts.
pub trait Embedder: Send + Sync {
    /// The model in use.
    fn model(&self) -> ModelId;

    /// One vector for each of `texts`, in their order, of the model's length and of Euclidean length 1.
    ///
    /// The texts are plain passages and queries; a prefix that the model wants is the embedder's to add.
    ///
    /// # Errors
    /// The model cannot be reached, or refuses a text.
    fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, VectorError>;
}

/// Keeps vectors by passage and finds the nearest.
pub trait VectorIndex: Send + Sync {
    /// The model whose vectors it holds; a vector of another is refused.
    fn model(&self) -> ModelId;

    /// Sets the vectors of these passages, replacing what they had.
    ///
    /// # Errors
    /// A vector of the wrong length, or storage that fails.
    fn upsert(&mut self, vectors: &[(i64, &[f32])]) -> Result<(), VectorError>;

    /// Forgets these passages; those it does not know are no error.
    ///
    /// # Errors
    /// Storage that fails.
    fn delete(&mut self, passages: &[i64]) -> Result<(), VectorError>;

    /// The `limit` passages nearest to `vector`, nearest first, each with its cosine similarity (-1 to 1).
    ///
    /// # Errors
    /// A vector of the wrong length, or storage that fails.
    fn search(&self, vector: &[f32], limit: usize) -> Result<Vec<(i64, f32)>, VectorError>;
}
