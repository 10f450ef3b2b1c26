//! What the user names: files, or shipped models and fleets by name.

use crate::args::{Asked, CacheArg, ObjectiveArg, WireArg};
use crate::outcome::Failure;
use sailplan_codegen::Plan;
use sailplan_cost_model::{parse_fleet, shipped_fleet, shipped_fleets};
use sailplan_ir::{At, DType, Diagnostic, Diagnostics, Fleet, Model, Objective, Pin, Request, Verified, Verify, Wire};
use sailplan_models::Loaded;
use std::io::{ErrorKind, Read};
use std::path::Path;

/// A fleet or a plan larger than this is refused unread.
const LARGEST_TEXT: u64 = 64 << 20;

/// A model by path, or by the name of a shipped one.
pub(crate) fn model(name: &str) -> Result<Loaded, Failure> {
    let path = Path::new(name);
    let stem = name.strip_suffix(".ron").unwrap_or(name);
    if !path.exists() && sailplan_models::zoo().iter().any(|shipped| shipped.name == stem) {
        return Ok(sailplan_models::load_zoo(stem)?);
    }
    Ok(sailplan_models::load(path).map_err(|problems| hinted_by_zoo(path, problems))?)
}

/// A name that is neither a file nor shipped gets the list of what is shipped.
fn hinted_by_zoo(path: &Path, mut problems: Diagnostics) -> Diagnostics {
    if !path.exists() {
        let names: Vec<&str> = sailplan_models::zoo().iter().map(|shipped| shipped.name).collect();
        for problem in &mut problems.0 {
            problem.hint = Some(format!("give a file, or one of the shipped models: {}", names.join(", ")));
        }
    }
    problems
}

/// A fleet by path, or by the name of a shipped one.
pub(crate) fn fleet(name: &str) -> Result<Verified<Fleet>, Failure> {
    let path = Path::new(name);
    if let (false, Some(text)) = (path.exists(), shipped_fleet(name)) {
        return Ok(parse_fleet(name, text)?);
    }
    match text(path) {
        Ok(text) => Ok(parse_fleet(name, &text)?),
        Err(Failure::Input(mut problems)) if !path.exists() => {
            let names: Vec<&str> = shipped_fleets().iter().map(|shipped| shipped.0).collect();
            for problem in &mut problems.0 {
                problem.hint = Some(format!("give a file, or one of the shipped fleets: {}", names.join(", ")));
            }
            Err(problems.into())
        }
        Err(other) => Err(other),
    }
}

/// A plan, checked from scratch.
pub(crate) fn plan(path: &Path) -> Result<Verified<Plan>, Failure> {
    let text = text(path)?;
    Ok(sailplan_codegen::read(&path.display().to_string(), &text)?)
}

/// The pins of a file; none without one.
pub(crate) fn pins(path: Option<&Path>) -> Result<Vec<Pin>, Failure> {
    let Some(path) = path else { return Ok(Vec::new()) };
    Ok(sailplan_models::pins_from_ron(&path.display().to_string(), &text(path)?)?)
}

/// A plan, or why it is unsound. Text that cannot be read as a plan is an error; a plan that is wrong is a finding.
pub(crate) fn plan_or_problems(path: &Path) -> Result<Result<Verified<Plan>, Diagnostics>, Failure> {
    let text = text(path)?;
    let in_text = |problem: &Diagnostic| problem.place.as_ref().is_some_and(|place| matches!(place.at, At::Span(_)));
    match sailplan_codegen::read(&path.display().to_string(), &text) {
        Err(problems) if problems.0.iter().any(in_text) => Err(problems.into()),
        read => Ok(read),
    }
}

/// A text file of reasonable size.
pub(crate) fn text(path: &Path) -> Result<String, Failure> {
    let failed = |error: std::io::Error| Failure::file(path, "read it", &error);
    let size = std::fs::metadata(path).map_err(failed)?;
    if size.is_dir() {
        return Err(failed(std::io::Error::from(ErrorKind::IsADirectory)));
    }
    if size.len() > LARGEST_TEXT {
        let message = format!("{} bytes are more than the {LARGEST_TEXT} that a description may have", size.len());
        return Err(failed(std::io::Error::new(ErrorKind::FileTooLarge, message)));
    }
    let mut text = String::new();
    let mut file = std::fs::OpenOptions::new().read(true).open(path).map_err(failed)?.take(LARGEST_TEXT + 1);
    file.read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}

/// The request that the flags describe; what they leave open is as before, where there was a request.
pub(crate) fn request(asked: &Asked, before: Option<&Request>) -> Result<Verified<Request>, Failure> {
    let base = before.copied().unwrap_or_default();
    let (prompt, generate) = (asked.prompt.unwrap_or(base.prompt), asked.generate.unwrap_or(base.generate));
    let least = before.map_or(2048, |before| before.context);
    let request = Request {
        prompt,
        generate,
        batch: asked.batch.unwrap_or(base.batch),
        context: asked.context.unwrap_or(prompt.saturating_add(generate).max(least)),
        chunk: asked.ubatch.unwrap_or(base.chunk),
        wire: asked.wire.map_or(base.wire, |wire| match wire {
            WireArg::F32 => Wire::F32,
            WireArg::Bf16 => Wire::Bf16,
        }),
        cache: asked.kv.map_or(base.cache, |kv| match kv {
            CacheArg::F32 => DType::F32,
            CacheArg::F16 => DType::F16,
        }),
        objective: asked.objective.map_or(base.objective, |objective| match objective {
            ObjectiveArg::Request => Objective::Request,
            ObjectiveArg::Decode => Objective::Decode,
            ObjectiveArg::Prefill => Objective::Prefill,
            ObjectiveArg::Throughput => Objective::Throughput,
        }),
        in_flight: 1,
    };
    Ok(request.verify()?)
}

/// The model with the cache type that the request asks for.
pub(crate) fn with_caches(model: Verified<Model>, request: &Request) -> Result<Verified<Model>, Failure> {
    Ok(model.into_inner().with_cache_dtype(request.cache).verify()?)
}

/// Problems of a request longer than the model was made for.
pub(crate) fn check_context(model: &Model, request: &Request) -> Option<Diagnostic> {
    let trained = model.trained_context?;
    (request.context > trained && request.prompt.saturating_add(request.generate) > trained).then(|| {
        Diagnostic::new(format!("the model was made for a context of {trained}, {} is asked", request.context))
    })
}
