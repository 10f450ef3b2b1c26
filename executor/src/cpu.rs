//! The `cpu` device: real numbers on the host's processor, in arenas at the plan's offsets, on the calling thread
//! only. It knows operators and arenas, no names and no other cards.

use crate::Fault;
use crate::arena::{Arena, Plain};
use crate::call::{Call, Memory, computes, misfit};
use crate::device::{Arenas, Buffer, Cache, Device, Kernel, Operand, Step};
use half::{bf16, f16};
use sailplan_ir::DType;

/// A card made of host memory and one thread.
#[derive(Default)]
pub struct Cpu {
    memory: Option<Memory>,
}

impl Device for Cpu {
    const NAME: &'static str = "cpu";

    fn computes(dtype: DType) -> bool {
        computes(dtype)
    }

    fn allocate(&mut self, arenas: Arenas) -> Result<(), Fault> {
        let weights = Arena::new("weights", arenas.weights)?;
        let kv = Arena::new("caches", arenas.kv)?;
        let activations = Arena::new("activations", arenas.activations)?;
        self.memory = Some(Memory { weights, kv, activations });
        Ok(())
    }

    fn load(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Fault> {
        self.memory_mut()?.weights.view_mut::<u8>(offset, bytes.len() as u64)?.copy_from_slice(bytes);
        Ok(())
    }

    fn run(&mut self, kernel: &Kernel, step: Step) -> Result<(), Fault> {
        let call = Call { memory: self.memory()?, kernel, step };
        if let (Operand::Buffer(first), false) = (kernel.output, kernel.beside.is_empty()) {
            let values = call.products()?;
            let outs = std::iter::once(first).chain(kernel.beside.iter().map(|product| product.1));
            return outs.zip(values).try_for_each(|(out, values)| self.write(out, step, &values));
        }
        let values = call.compute()?;
        match kernel.output {
            Operand::Buffer(buffer) => self.write(buffer, step, &values),
            Operand::Cache(cache) => self.append(cache, kernel, step, &values),
        }
    }

    fn read(&self, buffer: Buffer, step: Step) -> Result<Vec<f32>, Fault> {
        Ok(self.memory()?.activations.view::<f32>(buffer.offset, step.elements(buffer))?.to_vec())
    }

    fn write(&mut self, buffer: Buffer, step: Step, values: &[f32]) -> Result<(), Fault> {
        set(self.memory_mut()?.activations.view_mut(buffer.offset, step.elements(buffer))?, values)
    }

    fn write_tokens(&mut self, buffer: Buffer, step: Step, tokens: &[u32]) -> Result<(), Fault> {
        set(self.memory_mut()?.activations.view_mut(buffer.offset, step.elements(buffer))?, tokens)
    }
}

impl Cpu {
    fn memory(&self) -> Result<&Memory, Fault> {
        self.memory.as_ref().ok_or(NOT_ALLOCATED)
    }

    fn memory_mut(&mut self) -> Result<&mut Memory, Fault> {
        self.memory.as_mut().ok_or(NOT_ALLOCATED)
    }

    /// New rows of a cache, rounded to its type.
    fn append(&mut self, cache: Cache, kernel: &Kernel, step: Step, values: &[f32]) -> Result<(), Fault> {
        let reads_it = kernel.inputs.first() == Some(&kernel.output);
        let end = step.start.checked_add(step.tokens).filter(|&end| cache.share.count(end) <= cache.rows);
        if !kernel.op.appends() || !reads_it || end.is_none() {
            return Err(misfit(kernel, "a cache can only be appended to, within its positions"));
        }
        match cache.dtype {
            DType::F32 => self.put(cache, step, values, |value| value),
            DType::F16 => self.put(cache, step, values, f16::from_f32),
            DType::BF16 => self.put(cache, step, values, bf16::from_f32),
            _ => Err(misfit(kernel, "no kernel for this type of cache")),
        }
    }

    /// Those of the new rows whose positions the cache has.
    fn put<T: Plain>(&mut self, to: Cache, step: Step, from: &[f32], round: fn(f32) -> T) -> Result<(), Fault> {
        let before = to.share.count(step.start);
        let skipped = before.saturating_mul(to.columns).saturating_mul(size_of::<T>() as u64);
        let offset = to.offset.saturating_add(skipped);
        let rows = to.share.count(step.start.saturating_add(step.tokens)).saturating_sub(before);
        let (elements, columns) = (rows.saturating_mul(to.columns), to.columns.max(1) as usize);
        let own = to.share.first().saturating_add(before.saturating_mul(to.share.of())).saturating_sub(step.start);
        let own = from.chunks_exact(columns).skip(own as usize).step_by(to.share.of() as usize);
        let into = self.memory_mut()?.kv.view_mut::<T>(offset, elements)?;
        for (into, &value) in into.chunks_exact_mut(columns).zip(own).flat_map(|(into, row)| into.iter_mut().zip(row)) {
            *into = round(value);
        }
        Ok(())
    }
}

const NOT_ALLOCATED: Fault = Fault::Outside { offset: 0, elements: 0, bytes: 0 };

fn set<T: Copy>(into: &mut [T], values: &[T]) -> Result<(), Fault> {
    if into.len() != values.len() {
        return Err(Fault::Operands { operator: "write", problem: "the result and its buffer differ in size" });
    }
    into.copy_from_slice(values);
    Ok(())
}
