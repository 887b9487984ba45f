# dcase2018 with the web page and the export. Commands run in /work, a folder of the host:
#   docker build --tag dcase2018 .
#   docker run --rm -it --init --user "$(id -u):$(id -g)" --volume "$PWD:/work" dcase2018
FROM python:3.11-slim
COPY constraints.txt pyproject.toml README.md LICENSE /dcase2018/
COPY dcase2018 /dcase2018/dcase2018
RUN pip install --no-cache-dir --constraint /dcase2018/constraints.txt '/dcase2018[serve,export]'
WORKDIR /work
ENTRYPOINT ["dcase2018"]
CMD ["run", "submission"]
