# Holdfast in a container.
#
#   docker build -t holdfast .                                    the CPU's PyTorch
#   docker build -t holdfast:cuda --build-arg TORCH=cu128 .       PyTorch for that CUDA
#   docker run --rm -u "$(id -u):$(id -g)" -v "$PWD/runs:/study/runs" holdfast evaluate --model runs/net --data digits ...
#
# The folder has to be there before: Docker would make it root's. -u is for who owns it.
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
# Whoever -u says may write here, where data and caches go too; such a user has no name and no home.
RUN useradd --no-create-home holdfast && mkdir -m 1777 /study
USER holdfast
WORKDIR /study
ENV HOME=/study USER=holdfast HOLDFAST_DATA=/study/data
ENTRYPOINT ["holdfast"]
CMD ["--help"]
