# Holdfast in a container.
#
#   docker build -t holdfast .                                    the CPU's PyTorch
#   docker build -t holdfast:cuda --build-arg TORCH=cu128 .       PyTorch for that CUDA
#   docker run --rm -v "$PWD/runs:/study/runs" holdfast evaluate --model runs/net --data digits ...
FROM python:3.12-slim AS built
WORKDIR /source
COPY pyproject.toml setup.py MANIFEST.in README.md LICENSE CHANGELOG.md CITATION.cff ./
COPY src src
COPY recipes recipes
RUN pip install --no-cache-dir build && python -m build --wheel --outdir /wheels

FROM python:3.12-slim
# PyTorch's own index: the one of PyPI brings 6 GB of CUDA to machines without a GPU.
ARG TORCH=cpu
# Where it is, for who has a mirror.
ARG TORCH_INDEX=https://download.pytorch.org/whl/${TORCH}
RUN pip install --no-cache-dir torch torchvision --index-url "${TORCH_INDEX}"
COPY --from=built /wheels /wheels
# Extras by name, as in --build-arg EXTRAS=[timm,foolbox].
ARG EXTRAS=""
RUN pip install --no-cache-dir "$(ls /wheels/*.whl)${EXTRAS}" && rm -r /wheels
RUN useradd --create-home holdfast && mkdir /study && chown holdfast /study
USER holdfast
WORKDIR /study
ENV HOLDFAST_DATA=/study/data
ENTRYPOINT ["holdfast"]
CMD ["--help"]
