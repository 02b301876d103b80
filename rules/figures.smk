rule figure:
    input:
        plain(lambda wildcards: PLAN.summaries.before_figure(wildcards.figure)),
    output:
        pdf=f"{RESULTS}/figures/{{figure}}.pdf",
        png=report(
            f"{RESULTS}/figures/{{figure}}.png",
            caption="captions/figure.rst",
            category="Figures",
            labels={"figure": "{figure}"},
        ),
        record=f"{RESULTS}/provenance/figures/{{figure}}.json",
    log:
        f"{RESULTS}/logs/figures/{{figure}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/figures/{{figure}}.tsv"
    conda:
        "../envs/eosflow.yaml"
    params:
        against=config["figures"]["against"],
        version=figures.FIGURES_VERSION,
        caption=lambda wildcards: PLAN.summaries.figure_caption(wildcards.figure),
        sources=lambda wildcards: PLAN.summaries.figure_options(wildcards.figure),
    shell:
        program("figure.py", "{wildcards.figure}", *MADE_OF_ANY)
        + "{params.sources} --against {params.against} "
        "--pdf {output.pdf:q} --png {output.png:q} --record {output.record:q} "
        ">> {log:q} 2>&1"
