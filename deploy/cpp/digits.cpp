// Read the digit in each picture with OpenCV alone, as predict.py does.
//
//     digits MODEL.onnx PICTURE...          one line per picture
//     digits MODEL.onnx --csv PICTURE...    columns path,label,confidence,trusted,reason
//
// `python export.py --format onnx` writes MODEL.onnx, and MODEL.json beside it. The functions have the names of those
// in digits/imaging and digits/evaluation, whose comments explain them. Exit status: 0 done, 2 bad input.

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <numeric>
#include <opencv2/core.hpp>
#include <opencv2/core/utils/logger.hpp>
#include <opencv2/dnn.hpp>
#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>
#if __has_include(<opencv2/geometry.hpp>)
#include <opencv2/geometry.hpp>  // of OpenCV 5
#endif
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

using cv::Mat;

// The picture or the model cannot be used; the message is one line: what, and what to do.
struct InputError : std::runtime_error {
    using runtime_error::runtime_error;
};

// ---------- the exported model

struct Preprocessing {
    int side, box, center, working_side;
    double min_contrast;
};

struct Calibration {
    double temperature, digit_level;
    double guaranteed_threshold = INFINITY;  // without a guarantee, no prediction is trusted
    double candidate_threshold = INFINITY;
    bool reject_class;
};

struct Model {
    cv::dnn::Net network;
    std::vector<std::string> classes;
    bool reads_digits;  // the classes are 0 to 9
    std::optional<Calibration> calibration;
    Preprocessing preprocessing;
};

std::vector<uchar> read_file(const std::string& path) {
    if (std::filesystem::is_directory(path)) throw InputError("is a folder; expected a file");
    std::ifstream file(path, std::ios::binary);
    if (!file) throw InputError("no such file, or it cannot be opened");
    std::vector<uchar> data{std::istreambuf_iterator<char>(file), {}};
    if (data.empty()) throw InputError("the file is empty");
    return data;
}

double number(const cv::FileNode& node, const char* name) {
    if (!node[name].isReal() && !node[name].isInt()) throw InputError(std::string("'") + name + "' must be a number");
    return double(node[name]);
}

double number_or(const cv::FileNode& node, const char* name, double otherwise) {
    return node[name].empty() ? otherwise : number(node, name);
}

Calibration read_calibration(const cv::FileNode& node) {
    Calibration calibration;
    calibration.temperature = number(node, "temperature");
    calibration.digit_level = number(node, "digit_level");
    calibration.guaranteed_threshold = number_or(node, "guaranteed_threshold", INFINITY);
    calibration.candidate_threshold = number_or(node, "candidate_threshold", INFINITY);
    calibration.reject_class = number_or(node, "reject_class", 0) != 0;
    if (!(calibration.temperature > 0)) throw InputError("'temperature' must be above 0");
    return calibration;
}

Preprocessing read_preprocessing(const cv::FileNode& node) {
    const auto pixels = [&](const char* name) {
        const double value = number(node, name);
        if (value < 1 || value > 10000) throw InputError(std::string("'") + name + "' must be a number of pixels");
        return int(value);
    };
    return {pixels("side"), pixels("box"), pixels("center"), pixels("working_side"), number(node, "min_contrast")};
}

void read_description(const std::string& path, Model& model) {
    const std::vector<uchar> data = read_file(path);
    const int flags = cv::FileStorage::READ | cv::FileStorage::MEMORY | cv::FileStorage::FORMAT_JSON;
    const cv::FileStorage file(std::string(data.begin(), data.end()), flags);
    if (number(file.root(), "format") != 1) throw InputError("expected format 1; export again");
    for (const cv::FileNode& name : file["classes"]) model.classes.push_back(std::string(name));
    if (model.classes.empty()) throw InputError("'classes' must be a list of names");
    model.reads_digits = model.classes == std::vector<std::string>{"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"};
    if (file["preprocessing"].empty()) throw InputError("describes a network for photos; expected one for digits");
    model.preprocessing = read_preprocessing(file["preprocessing"]);
    if (model.preprocessing.box > model.preprocessing.side) throw InputError("'box' must be at most 'side'");
    if (!file["calibration"].empty()) model.calibration = read_calibration(file["calibration"]);
}

// An image, float [side, side] -> the logit of each class.
std::vector<double> compute_logits(Model& model, const Mat& image) {
    model.network.setInput(cv::dnn::blobFromImage(image));
    const Mat output = model.network.forward();
    const std::vector<double> logits(output.begin<float>(), output.end<float>());
    if (logits.size() != model.classes.size()) throw InputError("its output does not have one value per class");
    return logits;
}

Model load_model(const std::string& path) {
    const std::string beside = std::filesystem::path(path).replace_extension(".json").string();
    Model model;
    std::string name = path;
    try {
        const std::vector<uchar> data = read_file(path);
        name = beside;
        read_description(beside, model);
        name = path;
        model.network = cv::dnn::readNetFromONNX(data);
        compute_logits(model, Mat::zeros(model.preprocessing.side, model.preprocessing.side, CV_32F));
    } catch (const InputError& error) {
        throw InputError(name + ": " + error.what());
    } catch (const std::exception&) {  // OpenCV's own, which has several lines
        throw InputError(name + ": is damaged, or of a kind that OpenCV " CV_VERSION " cannot read; export it again");
    }
    return model;
}

// ---------- decoding (imaging/decoding.py)

// Whether a JPEG file lacks its end: OpenCV would fill the rest with gray.
bool is_cut_short(const std::vector<uchar>& data) {
    if (data.size() < 2 || data[0] != 0xFF || data[1] != 0xD8) return false;
    const uchar end[] = {0xFF, 0xD9};
    return std::find_end(data.begin() + data.size() / 2, data.end(), end, end + 2) == data.end();
}

// 16-bit gray to 8 bits: divided by a power of two that suits the bits in use.
Mat to_eight_bits(const Mat& pixels) {
    double high;
    cv::minMaxLoc(pixels, nullptr, &high);
    int depth = 16;
    for (const int fewer : {12, 10, 8}) {
        if (high < (1 << fewer)) depth = fewer;
    }
    Mat bytes(pixels.size(), CV_8U);
    bytes.forEach<uchar>([&](uchar& byte, const int* at) { byte = uchar(pixels.at<ushort>(at) >> (depth - 8)); });
    return bytes;
}

// A picture file -> 8-bit gray, BGR or BGRA, in its EXIF orientation.
Mat read_image(const std::string& path) {
    const std::vector<uchar> data = read_file(path);
    if (is_cut_short(data)) throw InputError("the picture is cut short; copy it again");
    Mat image;
    try {
        image = cv::imdecode(data, cv::IMREAD_UNCHANGED);
        if (image.depth() == CV_8U && image.channels() < 4) {  // only these flags turn it by its EXIF orientation
            image = cv::imdecode(data, cv::IMREAD_ANYCOLOR);
        }
    } catch (const cv::Exception&) {
        image.release();
    }
    if (image.empty()) throw InputError("not a picture that OpenCV " CV_VERSION " can decode; save it as PNG");
    if (image.type() == CV_16UC1) return to_eight_bits(image);
    if (image.depth() != CV_8U) throw InputError("has colors of more than 8 bits, which this program does not read");
    return image;
}

// ---------- statistics

// Every k-th pixel, about 4,000 in all: enough for statistics.
Mat sample_of(const Mat& image) {
    const int down = std::max(1, image.rows / 64), across = std::max(1, image.cols / 64);
    Mat sample((image.rows + down - 1) / down, (image.cols + across - 1) / across, image.type());
    for (int y = 0; y < sample.rows; ++y) {
        for (int x = 0; x < sample.cols; ++x) image.row(y * down).col(x * across).copyTo(sample.row(y).col(x));
    }
    return sample;
}

std::vector<float> values_of(const Mat& image) { return {image.begin<float>(), image.end<float>()}; }

std::vector<float> values_where(const Mat& image, const Mat& mask) {
    std::vector<float> values;
    for (int y = 0; y < image.rows; ++y) {
        for (int x = 0; x < image.cols; ++x) {
            if (mask.at<uchar>(y, x)) values.push_back(image.at<float>(y, x));
        }
    }
    return values;
}

float quantile(std::vector<float> values, double share) {
    std::sort(values.begin(), values.end());
    const double place = share * double(values.size() - 1);
    const size_t below = size_t(place);
    const float low = values[below], high = values[std::min(below + 1, values.size() - 1)];
    return low + (high - low) * float(place - double(below));
}

double largest(const Mat& values) {
    double high;
    cv::minMaxLoc(values, nullptr, &high);
    return high;
}

double share_of(const Mat& mask) { return double(cv::countNonZero(mask)) / double(mask.total()); }

Mat clip(const Mat& values, double low, double high) { return cv::min(cv::max(values, low), high); }

Mat ones(int rows, int columns) { return Mat::ones(rows, columns, CV_8U); }

// Full ink: a high quantile, or most of the maximum if the strokes are few pixels.
float peak_of(const Mat& ink) {
    return std::max(quantile(values_of(sample_of(ink)), 0.995), float(0.7 * largest(ink)));
}

// The pixels along the border, once around.
template <typename T>
std::vector<T> border_of(const Mat& image) {
    const int h = image.rows, w = image.cols;
    std::vector<T> border;
    for (int x = 0; x < w; ++x) border.push_back(image.at<T>(0, x));
    for (int y = 1; y < h; ++y) border.push_back(image.at<T>(y, w - 1));
    for (int x = w - 2; x >= 0; --x) border.push_back(image.at<T>(h - 1, x));
    for (int y = h - 2; y > 0; --y) border.push_back(image.at<T>(y, 0));
    return border;
}

struct Components {
    Mat labels;                   // int, the component of each pixel, 0 for the background
    std::vector<cv::Rect> boxes;  // component n is at n - 1
    std::vector<int> areas;       // pixels
};

Components label_components(const Mat& mask) {
    Components found;
    Mat stats, centroids;
    const int count = cv::connectedComponentsWithStats(mask, found.labels, stats, centroids, 8);
    for (int label = 1; label < count; ++label) {
        const int* row = stats.ptr<int>(label);
        found.boxes.emplace_back(row[0], row[1], row[2], row[3]);
        found.areas.push_back(row[4]);
    }
    return found;
}

cv::Rect bounds_of(const std::vector<cv::Rect>& boxes) {
    return std::accumulate(boxes.begin() + 1, boxes.end(), boxes[0], std::bit_or<cv::Rect>());
}

// ---------- picture to gray (imaging/ink.py)

// Put a picture with transparency on white if its ink is dark, on black if it is light.
Mat flatten(const Mat& image) {
    std::vector<Mat> channels;
    cv::split(image, channels);
    const Mat alpha = channels[3];
    channels.pop_back();
    if (cv::countNonZero(alpha) > 0) {  // an alpha of 0 everywhere means that it was never set
        int light = 0;
        for (Mat& channel : channels) {
            cv::multiply(channel, alpha, channel, 1 / 255.0);
            light += cv::mean(channel)[0] > cv::mean(alpha)[0] / 2;
        }
        for (Mat& channel : channels) {
            if (light <= 1) cv::add(channel, 255 - alpha, channel);
        }
    }
    Mat color;
    cv::merge(channels, color);
    return color;
}

cv::Size scaled(cv::Size size, double scale) {
    const auto length = [&](int side) { return std::max(1, int(std::nearbyint(side * scale))); };
    return {length(size.width), length(size.height)};
}

Mat shrink(const Mat& image, int side) {
    const double scale = double(side) / std::max(image.rows, image.cols);
    const Mat flat = image.channels() == 4 ? flatten(image) : image;
    if (scale >= 1) return flat;
    Mat small;
    cv::resize(flat, small, scaled(flat.size(), scale), 0, 0, cv::INTER_AREA);
    return small;
}

// The weights of blue, green and red that show the ink best; none if the picture is nearly gray.
std::optional<cv::Vec3f> color_weights(const Mat& sample, double min_contrast) {
    int range = 0;
    for (auto color = sample.begin<cv::Vec3b>(); color != sample.end<cv::Vec3b>(); ++color) {
        const auto [low, high] = std::minmax({(*color)[0], (*color)[1], (*color)[2]});
        range = std::max(range, high - low);
    }
    if (range < 16) return {};
    const int size = 2 * (std::min(sample.rows, sample.cols) / 8) + 1;
    float best = float(min_contrast);
    std::optional<cv::Vec3f> weights;
    for (const int operation : {cv::MORPH_BLACKHAT, cv::MORPH_TOPHAT}) {  // dark ink, light ink
        Mat contrast;
        cv::morphologyEx(sample, contrast, operation, ones(size, size));
        std::vector<float> strengths;
        const auto strength = [](const cv::Vec3b& color) { return float(std::max({color[0], color[1], color[2]})); };
        std::transform(contrast.begin<cv::Vec3b>(), contrast.end<cv::Vec3b>(), std::back_inserter(strengths), strength);
        const float peak = quantile(strengths, 0.98);
        if (peak <= best) continue;
        best = peak;
        cv::Vec3f sum(0, 0, 0);
        for (auto color = contrast.begin<cv::Vec3b>(); color != contrast.end<cv::Vec3b>(); ++color) {
            if (strength(*color) >= 0.7f * peak) sum += cv::Vec3f(*color);
        }
        weights = sum / (sum[0] + sum[1] + sum[2]);
    }
    return weights;
}

// 8-bit gray or BGR -> float, gray levels 0 to 255.
Mat to_gray(const Mat& image, double min_contrast) {
    Mat gray = image;
    if (image.channels() == 3) {
        if (const auto weights = color_weights(sample_of(image), min_contrast)) {
            Mat color;
            image.convertTo(color, CV_32F);
            cv::transform(color, gray, weights->t());
            return gray;
        }
        cv::cvtColor(image, gray, cv::COLOR_BGR2GRAY);
    }
    gray.convertTo(gray, CV_32F);
    return gray;
}

// ---------- gray to ink (imaging/ink.py)

// Place of a pixel in its row or column: -1 at one border, 1 at the other.
float place_of(int index, int count) { return count > 1 ? -1 + 2.0f * float(index) / float(count - 1) : -1.0f; }

Mat fit_background(const Mat& gray) {
    const int down = std::max(1, gray.rows / 64), across = std::max(1, gray.cols / 64);
    Mat samples, values;  // float [N, 6] and [N, 1]
    std::vector<uchar> edge;
    for (int row = 0; row < gray.rows; row += down) {
        for (int column = 0; column < gray.cols; column += across) {
            const float x = place_of(column, gray.cols), y = place_of(row, gray.rows);
            samples.push_back(Mat((cv::Mat_<float>(1, 6) << 1, x, y, x * y, x * x, y * y)));
            values.push_back(gray.at<float>(row, column));
            edge.push_back(std::max(std::abs(x), std::abs(y)) > 0.85f);
        }
    }
    const Mat is_edge(edge);
    Mat coefficients = Mat::zeros(6, 1, CV_32F);
    coefficients.at<float>(0) = quantile(values_where(values, is_edge), 0.5);
    Mat background(values.size(), CV_32F, cv::Scalar(coefficients.at<float>(0)));
    for (const int degree : {1, 3, 6}) {
        const Mat distance = cv::abs(values - background);
        const float limit = std::max(8.0f, 2.5f * quantile(values_where(distance, is_edge), 0.5));
        Mat known, known_values, solved;
        for (int row = 0; row < values.rows; ++row) {
            if (distance.at<float>(row) >= limit) continue;
            known.push_back(samples.row(row).colRange(0, degree));
            known_values.push_back(values.at<float>(row));
        }
        if (known.rows < 0.2 * values.rows) break;
        cv::solve(known.t() * known + 1e-3 * Mat::eye(degree, degree, CV_32F), known.t() * known_values, solved);
        solved.copyTo(coefficients.rowRange(0, degree));
        background = samples * coefficients;
    }
    const float* c = coefficients.ptr<float>();
    Mat surface(gray.size(), CV_32F);
    surface.forEach<float>([&](float& level, const int* at) {
        const float x = place_of(at[1], gray.cols), y = place_of(at[0], gray.rows);
        level = c[0] + c[1] * x + c[2] * y + c[3] * x * y + c[4] * x * x + c[5] * y * y;
    });
    return surface;
}

struct Ink {
    std::optional<Mat> ink;  // float in [0, 1]; none if the contrast is too low
    double noise = 0;        // standard deviation, as a share of full ink
    double contrast = 0;     // full ink, as a share of the largest ink that the light allows
    double doubt = 1;        // evidence against it, 0 to 1
};

// Scale ink, in gray levels, so that full ink is 1. Room is the largest ink that the light allows, in gray levels.
Ink normalize(const Mat& levels, const Mat& room, double noise, double min_contrast) {
    if (peak_of(levels) < std::max(min_contrast, 6 * noise)) return {};
    const Mat ink = cv::max(levels - 3 * noise, 0) / cv::max(room, min_contrast);
    Ink found;
    found.contrast = peak_of(ink);
    found.ink = cv::min(ink / found.contrast, 1);
    return found;
}

Ink subtract(const Mat& gray, const Mat& background, double min_contrast) {
    const Mat difference = gray - background;
    const double noise = 1.4826 * quantile(values_of(cv::abs(sample_of(difference))), 0.5);
    const Mat dark = cv::max(-difference, 0), light = cv::max(difference, 0);
    const float dark_peak = peak_of(dark), light_peak = peak_of(light);
    Ink found = dark_peak >= light_peak ? normalize(dark, background, noise, min_contrast)
                                        : normalize(light, 255 - background, noise, min_contrast);
    found.noise = noise / std::max({dark_peak, light_peak, 1.0f});
    return found;
}

bool is_uneven(const Mat& gray, const Ink& found) {
    if (std::min(gray.rows, gray.cols) < 32) return false;
    if (!found.ink) return true;
    const Mat& ink = *found.ink;
    const Mat mask = ink > 0.1;
    const double border = share_of(mask.row(0)) * ink.cols + share_of(mask.row(ink.rows - 1)) * ink.cols +
                          share_of(mask.col(0)) * ink.rows + share_of(mask.col(ink.cols - 1)) * ink.rows;
    return found.noise > 0.05 || border / (2 * (ink.rows + ink.cols)) > 0.08 || share_of(sample_of(ink) > 0.2) > 0.3;
}

Mat to_bytes(const Mat& gray) {
    Mat bytes(gray.size(), CV_8U);
    bytes.forEach<uchar>([&](uchar& byte, const int* at) { byte = uchar(std::clamp(gray.at<float>(at), 0.f, 255.f)); });
    return bytes;
}

// Find dark strokes up to two thirds of the size of the kernel wide.
Ink find_thin_ink(const Mat& image, double share, double min_contrast) {
    const int size = 2 * int(std::nearbyint(share * std::max(image.rows, image.cols) / 2)) + 1;
    Mat padded, background, levels, room;
    cv::medianBlur(image, padded, 3);
    cv::copyMakeBorder(padded, padded, size, size, size, size, cv::BORDER_REPLICATE);  // continues a table
    cv::morphologyEx(padded, background, cv::MORPH_CLOSE, ones(size, size));
    background = background(cv::Rect(cv::Point(size, size), image.size()));
    background.convertTo(room, CV_32F);
    image.convertTo(levels, CV_32F);
    const Mat difference = room - levels, sample = sample_of(difference);
    const float level = quantile(values_of(sample), 0.5);  // noise lifts the closing above the paper
    const double noise = 1.4826 * quantile(values_of(cv::abs(sample - level)), 0.5);
    Ink found = normalize(cv::max(difference - level, 0), room, noise, min_contrast);
    if (!found.ink) return found;

    const Mat strokes = *found.ink > 0.5;
    Mat radius, blend, halfway = Mat::zeros(image.size(), CV_8U), around;
    cv::distanceTransform(strokes, radius, cv::DIST_L2, 3);
    if (3 * quantile(values_where(radius, strokes), 0.95) > size) return {};
    cv::addWeighted(background, 0.5, image, 0.5, 0, blend);
    blend.copyTo(halfway, strokes);
    cv::dilate(halfway, halfway, ones(9, 9));
    cv::dilate(strokes, around, ones(9, 9));
    around &= *found.ink < 0.2;
    found.doubt = double(cv::countNonZero(around & (image < halfway))) / cv::countNonZero(around);
    return found;
}

// Find thin strokes darker, or lighter, than their neighborhood, as in a photo with a shadow; none if they are wide.
std::optional<Mat> find_local_ink(const Mat& gray, double min_contrast) {
    const double shares[] = {1 / 25.0, 1 / 12.0, 1 / 6.0, 1 / 4.0};  // of the kernels
    const Mat image = to_bytes(gray);
    Mat half;  // enough to choose the kernel
    cv::resize(image, half, {}, 0.5, 0.5, cv::INTER_AREA);
    std::vector<Ink> dark, light;
    for (const double share : shares) {
        dark.push_back(find_thin_ink(half, share, min_contrast));
        light.push_back(find_thin_ink(255 - half, share, min_contrast));
    }
    const auto less_doubt = [](const Ink& a, const Ink& b) { return a.doubt < b.doubt; };
    const bool is_dark = std::min_element(dark.begin(), dark.end(), less_doubt)->doubt <=
                         std::min_element(light.begin(), light.end(), less_doubt)->doubt;
    const std::vector<Ink>& found = is_dark ? dark : light;
    double strongest = 0;
    for (const Ink& ink : found) strongest = ink.doubt < 0.15 ? std::max(strongest, ink.contrast) : strongest;
    for (size_t n = 0; n < found.size(); ++n) {
        if (found[n].doubt >= 0.15 || found[n].contrast <= 0.85 * strongest) continue;
        return find_thin_ink(is_dark ? image : Mat(255 - image), shares[n], min_contrast).ink;
    }
    return {};
}

// ---------- ink of two tones (imaging/two_tone.py)

double stroke_width(const Mat& mask) {
    Mat padded, distance;
    cv::copyMakeBorder(mask, padded, 1, 1, 1, 1, cv::BORDER_CONSTANT, 0);
    cv::distanceTransform(padded, distance, cv::DIST_L2, 3);
    return 2 * largest(distance);
}

long count_parts(const Mat& mask) {
    const std::vector<int> areas = label_components(mask).areas;
    return std::count_if(areas.begin(), areas.end(), [&](int area) { return area > 0.005 * double(mask.total()); });
}

bool is_ink_dark(const Mat& is_dark, double border) {
    if (border > 0.75 || border < 0.25) return border < 0.5;
    const long dark_parts = count_parts(is_dark), light_parts = count_parts(~is_dark);
    return dark_parts != light_parts ? dark_parts < light_parts : border < 0.5;
}

bool has_other_tone_inside(const Mat& gray, const Mat& background, double contrast) {
    Mat labels, outer = Mat::zeros(gray.size(), CV_8U);
    std::vector<uchar> is_outer(size_t(cv::connectedComponents(background, labels, 8)), 0);
    for (const int label : border_of<int>(labels)) is_outer[size_t(label)] = label != 0;
    outer.forEach<uchar>([&](uchar& pixel, const int* at) { pixel = is_outer[size_t(labels.at<int>(at))] ? 255 : 0; });
    std::vector<float> inside = values_where(gray, background & ~outer);
    const std::vector<float> outside = values_where(gray, outer);
    if (outside.empty() || inside.empty()) return false;
    const float level = quantile(outside, 0.5);
    for (float& value : inside) value = std::abs(value - level);
    return quantile(inside, 0.1) > 0.1 * contrast;
}

std::optional<Mat> find_two_tone_ink(const Mat& gray, double min_contrast, bool strict) {
    Mat bytes = to_bytes(gray), is_edge;
    const Mat is_dark = gray <= cv::threshold(bytes, bytes, 0, 1, cv::THRESH_OTSU);
    const double dark_share = share_of(is_dark);
    if (dark_share == 0 || dark_share == 1) return {};
    const float dark = quantile(values_where(gray, is_dark), 0.5), light = quantile(values_where(gray, ~is_dark), 0.5);
    const float contrast = light - dark;
    if (contrast < min_contrast) return {};
    const Mat from_dark = cv::abs(gray - dark), from_light = cv::abs(gray - light);
    const Mat is_near = cv::min(from_dark, from_light) < 0.2f * contrast;
    if (share_of(is_near) < 0.5) return {};
    const int shorter = std::min(gray.rows, gray.cols), size = 2 * int(std::nearbyint(0.06 * shorter)) + 3;
    cv::morphologyEx(is_dark, is_edge, cv::MORPH_GRADIENT, ones(size, size));
    if (share_of(is_near | is_edge) < (strict ? 0.995 : 0.9) && (strict || shorter >= 64)) return {};

    const std::vector<uchar> border = border_of<uchar>(is_dark);
    int edges = 0;
    for (size_t n = 0; n < border.size(); ++n) edges += border[n] && !border[(n + border.size() - 1) % border.size()];
    const double border_share = share_of(Mat(border));
    if (edges == 1 && border_share > 0.25 && border_share < 0.75) return {};  // the edge of a shadow or a table
    const bool ink_is_dark = is_ink_dark(is_dark, border_share);
    const Mat strokes = ink_is_dark ? is_dark : Mat(~is_dark);
    const double max_ink = border_share > 0 && border_share < 1 ? 0.75 : 0.7;
    const bool is_wide = stroke_width(strokes) > 0.6 * shorter || share_of(strokes) > max_ink;
    if (is_wide && std::max(gray.rows, gray.cols) < 2 * shorter) return {};
    if (strict && has_other_tone_inside(gray, ~strokes, contrast)) return {};
    const Mat darkness = clip((light - gray) / contrast, 0, 1);
    return ink_is_dark ? darkness : Mat(1 - darkness);
}

// ---------- printed lines (imaging/ruled_lines.py)

struct Lines {
    Mat mask;               // 255 on a line where no stroke crosses it; empty if there are no lines
    bool is_ruled = false;  // whether the paper is ruled
};

// Row of a line at each column: a polynomial through points.
std::vector<double> fit_line(const std::vector<cv::Point>& points, int degree, int width) {
    Mat terms(int(points.size()), degree + 1, CV_64F), rows(int(points.size()), 1, CV_64F), solved;
    for (int n = 0; n < terms.rows; ++n) {
        for (int power = 0; power <= degree; ++power) {
            terms.at<double>(n, power) = std::pow(double(points[size_t(n)].x) / width, power);
        }
        rows.at<double>(n) = points[size_t(n)].y;
    }
    cv::solve(terms, rows, solved, cv::DECOMP_SVD);
    std::vector<double> line;
    for (int x = 0; x < width; ++x) {
        double row = 0;
        for (int power = degree; power >= 0; --power) row = row * x / width + solved.at<double>(power);
        line.push_back(row);
    }
    return line;
}

int count_columns(const Mat& mask) {
    Mat columns;
    cv::reduce(mask, columns, 0, cv::REDUCE_MAX);
    return cv::countNonZero(columns);
}

Lines find_horizontal(const Mat& ink, bool may_be_ruled = true, bool is_ruled = false) {
    const int side = std::max(ink.rows, ink.cols), width = ink.cols;
    const Mat mask = ink > 0.1;
    if (count_columns(mask) < 0.6 * width) return {};
    const int thickest = int(std::nearbyint(side / 60.0)) + 2, step = int(std::nearbyint(side / 50.0));
    Mat thick, runs, joined;
    cv::morphologyEx(mask, thick, cv::MORPH_OPEN, ones(thickest, 1));
    const Mat thin = mask & ~thick;
    cv::dilate(thin, runs, ones(3, 1));
    cv::morphologyEx(runs, runs, cv::MORPH_CLOSE, ones(1, std::max(1, step / 2)));
    cv::morphologyEx(runs, runs, cv::MORPH_OPEN, ones(1, step));
    if (count_columns(runs) < 0.3 * width) return {};
    cv::morphologyEx(runs, joined, cv::MORPH_CLOSE, ones(3, int(std::nearbyint(side / 12.0))));
    const Components found = label_components(joined);

    const auto is_line = [&](const cv::Rect& box, double share) {
        return box.height < 0.25 * box.width && box.width >= share * width;
    };
    int count = 0, through = 0;
    for (const cv::Rect& box : found.boxes) {
        count += is_line(box, 0.6);
        through += is_line(box, 0.6) && box.x <= 2 && box.br().x >= width - 2;
    }
    const bool several = may_be_ruled && (count >= 3 || through >= (is_ruled ? 1 : 2));
    Mat lines = Mat::zeros(ink.size(), CV_8U), crossing;
    double thickness = 1;
    for (size_t n = 0; n < found.boxes.size(); ++n) {
        const cv::Rect& box = found.boxes[n];
        const bool at_border = box.x <= 2 || box.br().x >= width - 2;
        if (!is_line(box, several ? 0.6 / (at_border ? 6 : 2) : 0.6)) continue;  // ruled paper has shorter lines too
        const Mat is_here = (found.labels == int(n) + 1) & thin;
        std::vector<cv::Point> points;
        cv::findNonZero(is_here, points);
        if (double(points.size()) < box.width / 4.0) continue;
        const std::vector<double> center = fit_line(points, 1 + (box.width > 0.9 * width), width);
        const double thick_here = double(points.size()) / count_columns(is_here);
        thickness = std::max(thickness, thick_here);
        const float strength = quantile(values_where(ink, is_here), 0.5);  // a stroke along the line is much stronger
        lines.forEach<uchar>([&](uchar& pixel, const int* at) {
            const bool is_near = std::abs(at[0] - center[size_t(at[1])]) <= 1 + 0.75 * thick_here;
            if (is_near && ink.at<float>(at) < 1.8f * strength) pixel = 255;
        });
    }
    cv::morphologyEx(mask, crossing, cv::MORPH_OPEN, ones(int(std::nearbyint(2 * thickness)) + 2, 1));
    lines.setTo(0, crossing);
    if (!several) {
        const cv::Rect rest = cv::boundingRect((ink >= 0.4) & ~lines);
        if (!through || rest.empty() || rest.x <= 0.03 * width || rest.br().x - 1 >= 0.97 * width) return {};
    }
    return {lines, several};
}

Mat remove_lines(const Mat& ink) {
    if (std::min(ink.rows, ink.cols) < 64) return ink;
    const Lines horizontal = find_horizontal(ink);
    const Lines vertical = find_horizontal(ink.t(), !horizontal.mask.empty(), horizontal.is_ruled);
    Mat remaining = ink.clone();
    if (!horizontal.mask.empty()) remaining.setTo(0, horizontal.mask);
    if (!vertical.mask.empty()) remaining.setTo(0, vertical.mask.t());
    const bool has_lines = !horizontal.mask.empty() || !vertical.mask.empty();
    return has_lines && largest(remaining) > 0.2f ? Mat(cv::min(remaining / peak_of(remaining), 1)) : ink;
}

// Ink, float in [0, 1], of a picture; none if it is blank.
std::optional<Mat> find_ink(const Mat& image, const Preprocessing& preprocessing) {
    const double min_contrast = preprocessing.min_contrast;
    const Mat gray = to_gray(shrink(image, preprocessing.working_side), min_contrast);
    const Ink found = subtract(gray, fit_background(gray), min_contrast);
    std::optional<Mat> ink = found.ink;
    if (is_uneven(gray, found)) {
        std::optional<Mat> other = find_two_tone_ink(gray, min_contrast, true);
        if (!other) other = find_local_ink(gray, min_contrast);
        if (other) ink = other;
    }
    if (!ink) ink = find_two_tone_ink(gray, min_contrast, false);
    return ink ? remove_lines(*ink) : ink;
}

// ---------- components (imaging/components.py)

std::vector<bool> find_frame(const Components& found) {
    const int height = found.labels.rows, width = found.labels.cols, longer = std::max(height, width);
    const int strip = int(std::nearbyint(longer / 10.0));
    const size_t count = found.boxes.size();
    std::vector<int> core(count, 0), contact(count, 0);
    for (int y = 0; y < height; ++y) {
        for (int x = 0; x < width; ++x) {
            const int label = found.labels.at<int>(y, x);
            if (!label) continue;
            core[size_t(label - 1)] += y >= strip && y < height - strip && x >= strip && x < width - strip;
            contact[size_t(label - 1)] += (y == 0) + (y == height - 1) + (x == 0) + (x == width - 1);
        }
    }
    const int most = *std::max_element(found.areas.begin(), found.areas.end());
    std::vector<bool> at_border(count), is_frame(count, false);
    std::optional<size_t> main;  // the largest of the other components
    for (size_t n = 0; n < count; ++n) {
        const bool in_strip = found.areas[n] - core[n] >= 0.95 * found.areas[n];
        at_border[n] = in_strip && (contact[n] > 0 || found.areas[n] < 0.1 * most);
        if (!at_border[n] && (!main || found.areas[n] > found.areas[*main])) main = n;
    }
    if (!main) return is_frame;
    const cv::Rect all = bounds_of(found.boxes), center = found.boxes[*main];
    const bool spans_image = std::max({all.x, all.y, width - all.br().x, height - all.br().y}) <= 1 + 0.02 * longer;
    if (contact[*main] && spans_image) return is_frame;  // the picture is cut to the ink
    for (size_t n = 0; n < count; ++n) {
        const cv::Rect& box = found.boxes[n];
        const int gap_x = std::max(box.x, center.x) - std::min(box.br().x, center.br().x);
        const int gap_y = std::max(box.y, center.y) - std::min(box.br().y, center.br().y);
        const bool is_far = std::max(gap_x, gap_y) > 0.15 * std::max(center.width, center.height);
        is_frame[n] = at_border[n] && (is_far || contact[n] >= 0.5 * std::max(box.width, box.height));
    }
    return is_frame;
}

// Whether component n is a circle or box drawn around at least one other component of some height.
bool encloses_others(const Components& found, const std::vector<bool>& kept, size_t n) {
    const cv::Rect box = found.boxes[n];
    if (box.width <= 0.7 * box.height || box.width >= 1.45 * box.height) return false;
    int tallest = 0;
    for (size_t other = 0; other < kept.size(); ++other) {
        const cv::Rect& inner = found.boxes[other];
        const bool is_inside = inner.x > box.x && inner.y > box.y &&
                               inner.br().x < box.br().x && inner.br().y < box.br().y;
        if (kept[other] && is_inside) tallest = std::max(tallest, inner.height);
    }
    if (tallest < 0.25 * box.height) return false;
    const int gap = int(std::nearbyint(0.06 * std::max(box.width, box.height))), margin = gap + 1;
    Mat line;
    cv::copyMakeBorder(found.labels(box) == int(n) + 1, line, margin, margin, margin, margin, cv::BORDER_CONSTANT, 0);
    cv::dilate(line, line, ones(gap + 1, gap + 1));
    Mat free = ~line;
    cv::floodFill(free, {0, 0}, 0);  // what stays set is within the line
    return cv::countNonZero(free) >= 0.5 * box.width * box.height;
}

// Ink without dust, parts of a frame, and circles or boxes around the digit.
Mat cut_out(const Mat& ink) {
    const Components found = label_components(ink > 0.2);
    const size_t count = found.boxes.size();
    std::vector<double> amounts(count, 0);
    std::vector<bool> is_strong(count, false), large(count), kept(count);
    for (int y = 0; y < ink.rows; ++y) {
        for (int x = 0; x < ink.cols; ++x) {
            const int label = found.labels.at<int>(y, x);
            if (!label) continue;
            amounts[size_t(label - 1)] += ink.at<float>(y, x);
            if (ink.at<float>(y, x) >= 0.4f) is_strong[size_t(label - 1)] = true;
        }
    }
    const std::vector<bool> is_frame = find_frame(found);
    double most = 0;
    for (size_t n = 0; n < count; ++n) {
        if (!is_strong[n]) amounts[n] = 0;
        if (!is_frame[n]) most = std::max(most, amounts[n]);
    }
    for (size_t n = 0; n < count; ++n) large[n] = amounts[n] >= 0.02 * most && !is_frame[n];
    for (size_t n = 0; n < count; ++n) kept[n] = large[n] && !encloses_others(found, large, n);
    Mat mask(ink.size(), CV_8U), chosen = Mat::zeros(ink.size(), CV_32F);
    mask.forEach<uchar>([&](uchar& pixel, const int* at) {
        const int label = found.labels.at<int>(at);
        pixel = label && kept[size_t(label - 1)] ? 255 : 0;
    });
    cv::dilate(mask, mask, ones(3, 3));  // the soft edges of strokes
    ink.copyTo(chosen, mask);
    return chosen;
}

// ---------- ink to MNIST format (imaging/mnist_format.py)

bool is_mnist_format(const Mat& image, const Preprocessing& to) {
    if (image.type() != CV_8U || image.size() != cv::Size(to.side, to.side) || largest(image) < 250) return false;
    const cv::Rect box = cv::boundingRect(image);
    const cv::Moments moments = cv::moments(image);
    const double x = moments.m10 / moments.m00 - to.center, y = moments.m01 / moments.m00 - to.center;
    return std::max(box.width, box.height) == to.box && std::abs(x) <= 1 && std::abs(y) <= 1;
}

Mat ink_to_mnist(const Mat& ink, const Preprocessing& to) {
    const Mat cropped = ink(cv::boundingRect(ink > 0));
    const double scale = double(to.box) / std::max(cropped.rows, cropped.cols);
    Mat box, image = Mat::zeros(to.side, to.side, CV_32F);
    cv::resize(cropped, box, scaled(cropped.size(), scale), 0, 0, scale < 1 ? cv::INTER_AREA : cv::INTER_CUBIC);
    box = clip(box / largest(box), 0, 1);
    const cv::Moments moments = cv::moments(box);
    const auto start = [&](double mass, int length) {
        return std::clamp(int(std::nearbyint(to.center - mass / moments.m00)), 0, to.side - length);
    };
    const cv::Point corner(start(moments.m10, box.cols), start(moments.m01, box.rows));
    box.copyTo(image(cv::Rect(corner, box.size())));
    return image;
}

// A picture -> float [side, side] in [0, 1]; none if it is blank.
std::optional<Mat> to_mnist(const Mat& picture, const Preprocessing& to) {
    if (is_mnist_format(picture, to)) {
        Mat image;
        picture.convertTo(image, CV_32F);
        return Mat(image / 255);
    }
    const std::optional<Mat> ink = find_ink(picture, to);
    if (!ink) return {};
    return ink_to_mnist(cut_out(*ink), to);
}

int count_disjoint(std::vector<std::pair<int, int>> intervals) {
    std::sort(intervals.begin(), intervals.end());
    int count = 0, end = -1;
    for (const auto& [start, size] : intervals) {
        if (start < end) continue;
        ++count;
        end = start + size;
    }
    return count;
}

int count_segments(const Mat& image) {
    const std::vector<cv::Rect> boxes = label_components(image > 0.3).boxes;
    if (boxes.empty()) return 0;
    const cv::Rect all = bounds_of(boxes);
    std::vector<std::pair<int, int>> tall, wide;
    for (const cv::Rect& box : boxes) {
        if (box.height >= 0.7 * all.height) tall.emplace_back(box.x, box.width);
        if (box.width >= 0.7 * all.width && box.height >= 0.25 * all.height) wide.emplace_back(box.y, box.height);
    }
    return std::max({1, count_disjoint(tall), count_disjoint(wide)});
}

bool is_blot(const Mat& image) {
    Mat mask, distance;
    cv::copyMakeBorder(image > 0.5, mask, 1, 1, 1, 1, cv::BORDER_CONSTANT, 0);
    cv::distanceTransform(mask, distance, cv::DIST_L2, 5);
    if (largest(distance) < 7) return false;
    std::vector<cv::Point> outline, hull;
    cv::findNonZero(mask, outline);
    cv::convexHull(outline, hull);
    return cv::countNonZero(mask) > 0.9 * cv::contourArea(hull);
}

bool is_slash(const Mat& image) {
    const cv::Moments moments = cv::moments(image);
    if (moments.m00 == 0) return false;
    const Mat covariance = (cv::Mat_<double>(2, 2) << moments.mu20, moments.mu11, moments.mu11, moments.mu02);
    Mat values, axes;
    cv::eigen(covariance / moments.m00, values, axes);  // the largest first; axes are rows
    const double sign = axes.at<double>(0, 1) < 0 ? -1 : 1;  // down the stroke
    const double x = sign * axes.at<double>(0, 0), y = sign * axes.at<double>(0, 1);
    return values.at<double>(1) <= 0.0625 * values.at<double>(0) && !(-0.25 * y <= -x && -x <= 0.4 * y);
}

bool has_second_figure(const Mat& image) {
    const Components found = label_components(image > 0.3);
    if (found.boxes.empty()) return false;
    const auto most = std::max_element(found.areas.begin(), found.areas.end());
    const cv::Rect main = found.boxes[size_t(most - found.areas.begin())];
    int beside = 0;
    for (size_t n = 0; n < found.boxes.size(); ++n) {
        const cv::Rect& box = found.boxes[n];
        if (box.x >= main.br().x || box.br().x <= main.x) beside += found.areas[n];
    }
    return beside > 0.1 * std::accumulate(found.areas.begin(), found.areas.end(), 0);
}

// ---------- decision (evaluation/calibration.py, classifier.py and reading.py)

const std::string LOW_CONFIDENCE = "low confidence", NOT_A_DIGIT = "not a digit", SEVERAL_DIGITS = "several digits";
const std::string SLASH = "may be a slash", NO_KNOWN_CLASS = "none of the classes", BLANK = "blank";

struct Reading {
    std::string label;  // empty if the picture is blank
    double confidence = 0;
    std::optional<bool> trusted;  // none if the network was never calibrated
    std::string reason;           // why it is not trusted, or empty
    std::vector<std::string> candidates;
};

double log_sum_exp(const std::vector<double>& logits) {
    const double top = *std::max_element(logits.begin(), logits.end());
    double sum = 0;
    for (const double logit : logits) sum += std::exp(logit - top);
    return std::log(sum) + top;
}

std::vector<double> compute_probs(const std::vector<double>& logits, const std::optional<Calibration>& calibration) {
    std::vector<double> probs = logits;
    for (double& prob : probs) prob /= calibration ? calibration->temperature : 1;
    const double total = log_sum_exp(probs);
    const double known = calibration && calibration->reject_class ? 1 / (1 + std::exp(-log_sum_exp(logits))) : 1;
    for (double& prob : probs) prob = known * std::exp(prob - total) + (1 - known) / double(probs.size());
    return probs;
}

std::string doubt_picture(const Mat& image) {
    if (is_blot(image)) return NOT_A_DIGIT;
    if (has_second_figure(image)) return SEVERAL_DIGITS;
    return is_slash(image) ? SLASH : "";
}

// The classes with at least the candidate threshold, the most probable first.
std::vector<std::string> find_candidates(const Model& model, const std::vector<double>& probs) {
    std::vector<size_t> order(probs.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return probs[a] > probs[b]; });
    std::vector<std::string> names;
    for (const size_t index : order) {
        const bool is_candidate = index == order[0] || probs[index] >= model.calibration->candidate_threshold;
        if (is_candidate) names.push_back(model.classes[index]);
    }
    return names;
}

Reading decide(const Model& model, const Mat& image, const std::vector<double>& logits) {
    const std::vector<double> probs = compute_probs(logits, model.calibration);
    const auto best = std::max_element(probs.begin(), probs.end());
    Reading reading{model.classes[size_t(best - probs.begin())], *best, {}, "", {}};
    if (model.calibration) {
        const bool in_classes = log_sum_exp(logits) >= model.calibration->digit_level;
        reading.trusted = in_classes && *best >= model.calibration->guaranteed_threshold;
        if (!*reading.trusted) {
            if (model.reads_digits && count_segments(image) > 1) reading.reason = SEVERAL_DIGITS;
            else if (in_classes) reading.reason = LOW_CONFIDENCE;
            else reading.reason = model.reads_digits ? NOT_A_DIGIT : NO_KNOWN_CLASS;
        }
        if (reading.reason == LOW_CONFIDENCE) reading.candidates = find_candidates(model, probs);
    }
    const std::string doubt = model.reads_digits ? doubt_picture(image) : "";
    if (doubt.empty() || (doubt == SLASH && !reading.reason.empty())) return reading;
    reading.reason = doubt;
    if (reading.trusted) reading.trusted = false;
    return reading;
}

Reading read_digit(Model& model, const std::string& path) {
    const std::optional<Mat> image = to_mnist(read_image(path), model.preprocessing);
    if (!image) return {"", 0, false, BLANK, {}};
    return decide(model, *image, compute_logits(model, *image));
}

// ---------- output

std::string percent(double prob) {
    char text[32];
    std::snprintf(text, sizeof text, "%.2f%%", 100 * prob);
    return text[0] == '1' && text[1] == '0' && text[2] == '0' ? ">99.99%" : text;
}

std::string describe(const Reading& reading) {
    const auto& [label, confidence, trusted, reason, candidates] = reading;
    if (label.empty()) return reason;
    if (reason.empty()) return label + ", " + percent(confidence) + " sure";
    if (reason != LOW_CONFIDENCE && reason != SLASH) {
        return reason + "; the nearest is " + label + ", " + percent(confidence);
    }
    std::string doubt = reason;
    if (candidates.size() >= 2 && candidates.size() <= 4) {
        doubt = candidates[0];
        for (size_t n = 1; n < candidates.size(); ++n) {
            doubt += (n + 1 < candidates.size() ? ", " : " or ") + candidates[n];
        }
    }
    return label + "?, " + percent(confidence) + " sure: " + doubt;
}

std::string csv_field(const std::string& text) {
    if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
    std::string quoted = "\"";
    for (const char letter : text) quoted += letter == '"' ? "\"\"" : std::string(1, letter);
    return quoted + "\"";
}

std::string as_row(const std::string& path, const Reading& reading) {
    const std::string confidence = reading.label.empty() ? "" : std::to_string(reading.confidence);
    const std::string trusted = !reading.trusted ? "" : *reading.trusted ? "True" : "False";
    return csv_field(path) + "," + csv_field(reading.label) + "," + confidence + "," + trusted + "," + reading.reason;
}

// Number of letters in UTF-8.
size_t columns(const std::string& text) {
    return size_t(std::count_if(text.begin(), text.end(), [](char byte) { return (byte & 0xC0) != 0x80; }));
}

// A stream to the terminal's stderr, which OpenCV and the libraries that it decodes with then no longer write to.
FILE* take_stderr() {
    FILE* errors = fdopen(dup(STDERR_FILENO), "w");
    cv::utils::logging::setLogLevel(cv::utils::logging::LOG_LEVEL_SILENT);
    if (!errors) return stderr;
    if (!std::freopen("/dev/null", "w", stderr)) std::fclose(stderr);
    return errors;
}

void report(FILE* errors, const std::string& message) {
    std::string line = message;
    for (char& letter : line) {
        if (letter == '\n' || letter == '\r' || letter == '\033') letter = ' ';
    }
    std::fprintf(errors, "error: %s\n", line.c_str());
    std::fflush(errors);
}

int main(int count, char** arguments) {
    const std::string usage = "usage: digits MODEL.onnx [--csv] PICTURE...";
    std::vector<std::string> paths(arguments + 1, arguments + count);
    const auto remove = [&](const char* flag) {
        const auto end = std::remove(paths.begin(), paths.end(), flag);
        const bool was_there = end != paths.end();
        paths.erase(end, paths.end());
        return was_there;
    };
    if (remove("--help")) {
        std::puts(usage.c_str());
        return 0;
    }
    const bool as_csv = remove("--csv");
    FILE* const errors = take_stderr();
    if (paths.size() < 2) {
        report(errors, usage);
        return 2;
    }
    const std::string model_path = paths[0];
    paths.erase(paths.begin());
    size_t width = 0;
    for (const std::string& path : paths) width = std::min<size_t>(80, std::max(width, columns(path)));
    int status = 0;
    try {
        Model model = load_model(model_path);
        if (as_csv) std::puts("path,label,confidence,trusted,reason");
        for (const std::string& path : paths) {
            try {
                const Reading reading = read_digit(model, path);
                const std::string padding(width - std::min(width, columns(path)), ' ');
                std::puts((as_csv ? as_row(path, reading) : path + padding + "  " + describe(reading)).c_str());
            } catch (const std::exception& error) {
                report(errors, path + ": " + error.what());
                status = 2;
            }
        }
    } catch (const std::exception& error) {
        report(errors, error.what());
        status = 2;
    }
    return status;
}
