# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Table 4: how fast the methods learn
#
# The paper fits A (1 - exp(-k x)) to each accuracy curve, where x is the training step: A is accuracy at convergence, k the
# rate of convergence. Its claim: the dLLM converges about as fast as the arLLM, although it has to see each document masked
# in many ways.
#
# The fits are to the mean curve over seeds, with the standard errors of the fit. A curve that has not bent determines
# neither A nor k. One that is at its end from the first evaluation on determines A alone. A number with a standard error
# larger than half of it is such a one, and a dash stands in its place. In the figure the x axis is linear up to the first
# evaluation and logarithmic from there on. Every fitted curve starts at 0 and rises; it cannot
# follow a curve that falls again, nor one that starts above 0 because the base knows some answers.
#
# k is per true optimizer step. The paper's axis counts more steps than the optimizer makes where there are paraphrases, so
# its k is converted. At another batch size or scale k is another number: compare the methods with each other.

# %% tags=["parameters"]
scale = "tiny"  # tiny, small, small:BASE, paper, or a scale file
seeds = [0]  # run seeds
world_seed = 0  # which synthetic world (tiny)
from_records = True  # True: read the committed records; False: train what is missing

# %%
from maskft.notebooks import check_injected, open_study, provenance
from maskft.plots import direction_curves, save_figure, table4_fits
from maskft.tables import (
    convergence_fits,
    convergence_table,
    convergence_versus_paper,
    display_convergence,
    mean_curves,
    write_convergence_table,
)

check_injected(In)

# %% [markdown]
# ## The runs
# Every missing run is trained by the `accelerate launch` command printed here, in worker processes outside this kernel.

# %% tags=["nbval-ignore-output"]
study = open_study("table4", scale, seeds, world_seed, from_records)

# %% [markdown]
# ## The table
# Parameter and standard error.

# %% tags=["nbval-check-output"]
points = mean_curves(direction_curves(study.metrics))
fits = convergence_fits(points)
print(display_convergence(convergence_table(fits)).T.to_string(header=False))

# %% [markdown]
# ## The curves that were fitted
# Points are means over seeds, filled without paraphrases and open with; lines are the fits, solid without and dashed with.
# The strip beside each panel has A with its standard error; an A without a mark is not determined.

# %%
figure = table4_fits(points, fits)

# %% [markdown]
# ## Paper against obtained
# The paper's k per true optimizer step.

# %% tags=["nbval-check-output"]
versus = convergence_versus_paper(fits)
print(versus.drop(columns="unit").to_string(index=False, float_format="%.4f"))

# %% [markdown]
# ## Files

# %% tags=["nbval-ignore-output"]
origin = provenance("table4", study)
write_convergence_table(fits, study.scale.tables, origin)
save_figure(figure, study.scale.figures, "table4_fits", origin)
study.pack()
