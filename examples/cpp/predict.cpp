// Predict with a kanjo bundle in C++, with ONNX Runtime only.
//
//   g++ -std=c++17 predict.cpp -I ORT/include -L ORT/lib -lonnxruntime -o predict
//   ./predict model.onnx WINDOW < samples.f32
//
// WINDOW: the window's length in samples, window_s * sample_rate of bundle.json.
// samples.f32: mono float32 samples from -1 to 1 at that rate; a clip shorter than the window is padded with zeros.
// Prints the probabilities, in the order of "labels" in bundle.json, and the out-of-distribution score.
#include <onnxruntime_cxx_api.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <vector>

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: predict model.onnx WINDOW < samples.f32\n";
    return 2;
  }
  std::vector<float> window(std::strtoul(argv[2], nullptr, 10));
  std::cin.read(reinterpret_cast<char*>(window.data()), window.size() * sizeof(float));

  Ort::Env env;
  Ort::Session session(env, argv[1], Ort::SessionOptions{});
  const std::array<std::int64_t, 2> shape{1, static_cast<std::int64_t>(window.size())};
  auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
  auto signal = Ort::Value::CreateTensor<float>(memory, window.data(), window.size(), shape.data(), shape.size());

  const std::array<const char*, 1> input_names{"signal"};
  const std::array<const char*, 2> output_names{"probabilities", "ood_score"};
  const auto outputs = session.Run(Ort::RunOptions{}, input_names.data(), &signal, input_names.size(),
                                   output_names.data(), output_names.size());

  const float* probabilities = outputs[0].GetTensorData<float>();
  const std::size_t n_labels = outputs[0].GetTensorTypeAndShapeInfo().GetElementCount();
  for (std::size_t index = 0; index < n_labels; ++index) {
    std::cout << probabilities[index] << "\n";
  }
  std::cout << "ood_score " << *outputs[1].GetTensorData<float>() << "\n";
}
