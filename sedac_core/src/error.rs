//! Every way in which SEDAC refuses its input: one variant a cause, each with the value at fault.

use std::path::PathBuf;

/// Shorthand for results of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// What was wrong. The text is one line: the fault, the value, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting is outside its range or of an unknown kind.
    #[error("{name} is {value}; it must be {expected}")]
    Parameter {
        /// The argument's name.
        name: &'static str,
        /// The value as given.
        value: String,
        /// The values that are allowed.
        expected: &'static str,
    },
    /// No layer was configured.
    #[error("{what} is empty; give at least one LayerConfig")]
    NoLayers {
        /// The argument or route at fault.
        what: String,
    },
    /// Checkpoints must follow the order of the model's layers.
    #[error("layer_idx {next} follows {previous}; list the layers in strictly increasing order")]
    LayerOrder {
        /// The layer before.
        previous: u32,
        /// The layer at fault.
        next: u32,
    },
    /// A checkpoint lies beyond the model's last layer.
    #[error("layer_idx {layer} does not exist in a model of {depth} layers; use 0 to {}", depth - 1)]
    Depth {
        /// The layer at fault.
        layer: u32,
        /// Number of layers of the model.
        depth: u32,
    },
    /// The weights do not fit the number of checkpoints.
    #[error("{origin} has {weights} weights for {layers} layers; give one weight a layer")]
    WeightsLength {
        /// Where the weights came from.
        origin: &'static str,
        /// Number of weights.
        weights: usize,
        /// Number of checkpoints.
        layers: usize,
    },
    /// With these weights and this decay the accumulated confidence never gets to its target.
    #[error(
        "layer {layer} can never exit: its confidence target is {target} but at most {reachable:.4} \
         can be reached; raise the weights or the decay, or lower the target"
    )]
    Unreachable {
        /// The checkpoint's layer.
        layer: u32,
        /// The confidence asked for.
        target: f64,
        /// The largest accumulated confidence at that layer.
        reachable: f64,
    },
    /// An environment variable cannot be read as what it should be.
    #[error("environment variable {name} is {value:?}; it must be {expected}")]
    Environment {
        /// The variable.
        name: &'static str,
        /// Its value.
        value: String,
        /// What it should hold.
        expected: &'static str,
    },
    /// An array has the wrong shape.
    #[error("{what} has shape {got}; it must have shape {expected}")]
    Shape {
        /// The argument.
        what: &'static str,
        /// The shape that is needed.
        expected: String,
        /// The shape that came.
        got: String,
    },
    /// An array holds another type of number, or there is no array at all.
    #[error("{what} is {got}; it must be a numpy array of {expected}")]
    Dtype {
        /// The argument.
        what: &'static str,
        /// The type that is needed.
        expected: &'static str,
        /// The type that came.
        got: String,
    },
    /// An array's memory cannot be used in place.
    #[error("{what} {reason}; give an array of its own that is contiguous and writeable")]
    Memory {
        /// The argument.
        what: &'static str,
        /// What prevents it.
        reason: &'static str,
    },
    /// A risk is negative or not finite, in strict mode.
    #[error(
        "risk is {value} at checkpoint {checkpoint}, token {token}; it must be finite and >= 0 \
         (strict=False counts such risks and treats them as not confident)"
    )]
    Risk {
        /// The risk at fault.
        value: f32,
        /// Its checkpoint, counted from 0.
        checkpoint: usize,
        /// Its token.
        token: usize,
    },
    /// A number in an input of a function is outside its range.
    #[error("{what} holds {value} at index {index}; it must be {expected}")]
    Value {
        /// The argument.
        what: &'static str,
        /// The value at fault.
        value: f64,
        /// Its position in the flattened input.
        index: usize,
        /// The values that are allowed.
        expected: &'static str,
    },
    /// There is no such checkpoint.
    #[error("checkpoint {index} does not exist; this controller has {count}, counted from 0")]
    Checkpoint {
        /// The index asked for.
        index: i64,
        /// Number of checkpoints.
        count: usize,
    },
    /// Checkpoints of a run come in order, each once.
    #[error("checkpoint {got} was fed where {expected} is next; feed each checkpoint once, in order")]
    StepOrder {
        /// The checkpoint that is due.
        expected: usize,
        /// The checkpoint that came.
        got: usize,
    },
    /// A finished run takes no more steps.
    #[error("this run is finished; call reset() to use it again")]
    Finished,
    /// There is no route of this name.
    #[error("route {name:?} does not exist; this controller has {known}")]
    RouteName {
        /// The name asked for.
        name: String,
        /// The names that exist.
        known: String,
    },
    /// A token's route index is out of range.
    #[error("route {index} of token {token} does not exist; this controller has {count}, counted from 0")]
    RouteIndex {
        /// The index asked for.
        index: i32,
        /// The token.
        token: usize,
        /// Number of routes.
        count: usize,
    },
    /// All routes share one risk matrix, hence one number of checkpoints.
    #[error("route {name:?} has {got} layers where the default route has {expected}; give as many")]
    RouteLayers {
        /// The route at fault.
        name: String,
        /// Its number of checkpoints.
        got: usize,
        /// The default route's.
        expected: usize,
    },
    /// An uncertainty was given to a controller whose decay is fixed.
    #[error("uncertainty {value} was given but adaptive_decay is off; construct with adaptive_decay=True")]
    DecayIsFixed {
        /// The uncertainty as given.
        value: f32,
    },
    /// A saved controller is of a version that this code does not read.
    #[error("{path} is of version {found}; this sedac_core reads version {expected}")]
    FileVersion {
        /// The file.
        path: PathBuf,
        /// Its version, as found.
        found: String,
        /// The version that can be read.
        expected: u32,
    },
    /// A saved controller cannot be understood.
    #[error("{path} is not a saved SEDAC controller: {reason}")]
    FileFormat {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The operating system refused to read or write a file.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
}
